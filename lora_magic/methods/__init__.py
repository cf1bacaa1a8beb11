"""The LoRA family: what each variant is, and the config that peft takes for it."""
