"""Stands for Colab's own package, in tests alone: imported at a kernel's start, with the secrets of a notebook."""
