"""Small models for tests, made on the spot."""

from pathlib import Path

CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
TEXT = ["How many days has a week? It has seven days.", "What is two and two? It is four.", "Name a colour: red."] * 8


def write_tokenizer(folder: Path, template: str | None = CHAT) -> None:
    """A byte-level BPE of a few hundred tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(TEXT, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|end|>", pad_token="<|pad|>")
    fast.chat_template = template
    fast.save_pretrained(folder)


def write_model(
    folder: Path, *, family: str = "llama", seed: int = 0, layers: int = 2, dtype: str = "bfloat16"
) -> None:
    """A random checkpoint of hidden width 256, so that 4-bit blocks are full.

    Args:
        family: "llama" (no biases), or "qwen2" (biases on attention's inputs).
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    kinds = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}
    config_class, model_class = kinds[family]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = model_class(
            config_class(
                vocab_size=512,
                hidden_size=256,
                intermediate_size=512,
                num_hidden_layers=layers,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=512,
                tie_word_embeddings=True,
                eos_token_id=1,
                pad_token_id=0,
                bos_token_id=None,
                initializer_range=0.08,
            )
        )
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.1)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    write_tokenizer(folder)


def rows(count: int = 40) -> list[dict[str, str]]:
    """Sums in words: `question` and `answer` columns."""
    return [{"question": f"What is {i} and {i}?", "answer": f"It is {2 * i}."} for i in range(count)]
