"""The run: data, loop, events, interruption and record."""
