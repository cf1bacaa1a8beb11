"""Other ways to do the same training, each as its own documentation has a user write it."""
