"""Published models' config.json files, cut to the keys that shapes come from."""

from typing import Any

LLAMA_1B: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 128_256,
    "tie_word_embeddings": True,
}  # fmt: skip
LLAMA_3B = LLAMA_1B | {"hidden_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 24, "head_dim": 128}
LLAMA_8B = LLAMA_3B | {
    "hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32, "num_attention_heads": 32,
    "tie_word_embeddings": False,
}  # fmt: skip
MISTRAL_7B = LLAMA_8B | {"model_type": "mistral", "vocab_size": 32_768}
MISTRAL_22B = MISTRAL_7B | {
    "hidden_size": 6144, "intermediate_size": 16_384, "num_hidden_layers": 56, "num_attention_heads": 48,
}  # fmt: skip
QWEN2_7B: dict[str, Any] = {
    "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18_944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152_064, "tie_word_embeddings": False,
}  # fmt: skip
QWEN3_4B: dict[str, Any] = {
    "model_type": "qwen3", "hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 151_936, "tie_word_embeddings": True,
}  # fmt: skip
GEMMA_7B: dict[str, Any] = {
    "model_type": "gemma", "hidden_size": 3072, "intermediate_size": 24_576, "num_hidden_layers": 28,
    "num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 256, "vocab_size": 256_000,
}  # fmt: skip
GEMMA_2_2B: dict[str, Any] = {
    "model_type": "gemma2", "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 256_000,
}  # fmt: skip
GEMMA_3_4B: dict[str, Any] = {
    "model_type": "gemma3",
    "text_config": {
        "model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10_240, "num_hidden_layers": 34,
    },
}  # fmt: skip
PHI_35_MINI: dict[str, Any] = {
    "model_type": "phi3", "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32_064, "tie_word_embeddings": False,
}  # fmt: skip
PHI_4 = PHI_35_MINI | {
    "hidden_size": 5120, "intermediate_size": 17_920, "num_hidden_layers": 40, "num_attention_heads": 40,
    "num_key_value_heads": 10, "vocab_size": 100_352,
}  # fmt: skip

PUBLISHED = {
    "llama-1b": LLAMA_1B, "llama-3b": LLAMA_3B, "llama-8b": LLAMA_8B, "mistral-7b": MISTRAL_7B,
    "mistral-22b": MISTRAL_22B, "qwen2-7b": QWEN2_7B, "qwen3-4b": QWEN3_4B, "gemma-7b": GEMMA_7B,
    "gemma2-2b": GEMMA_2_2B, "gemma3-4b": GEMMA_3_4B, "phi3-mini": PHI_35_MINI, "phi-4": PHI_4,
}  # fmt: skip
