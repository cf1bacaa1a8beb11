"""The machine, and how a run is laid out on it."""
