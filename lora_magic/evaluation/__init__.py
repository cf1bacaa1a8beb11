"""What an adapter changed: the same prompts answered by the base and by adapters."""
