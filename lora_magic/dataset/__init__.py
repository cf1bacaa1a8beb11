"""Where examples come from, how they become chat turns and then tokens with a loss mask; splits, batches."""
