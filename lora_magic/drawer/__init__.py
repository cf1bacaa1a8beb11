"""The adapters that a base has: what they are, what they do to its layers, and how they come, mix and go."""
