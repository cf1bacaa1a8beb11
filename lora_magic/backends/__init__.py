"""What runs the model: one contract, and a keeper of it for each stack."""
