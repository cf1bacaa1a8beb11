"""What an Unsloth notebook does: micro-batches of 2, four a step, its own checkpointing; `--packing` packs rows.

python -m tests.benchmarks.gpu.peers.unsloth_notebook MODEL DATA.jsonl [--packing] [--mask answers]
"""

from tests.benchmarks.gpu import machine
from tests.benchmarks.gpu.peers import common


def main() -> None:
    """Train and print the line."""
    asked = common.options(__doc__ or "", packing={"action": "store_true", "help": "trl's packing, Unsloth's kernels"})
    import unsloth  # noqa: F401  before all it patches

    machine.hold(asked.limit_gib)
    import torch
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer
    from unsloth import FastLanguageModel

    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=asked.model, max_seq_length=2048, dtype=torch.float16, load_in_4bit=True
    )
    model = FastLanguageModel.get_peft_model(
        model, r=common.RANK, target_modules=machine.PROJECTIONS, lora_alpha=common.RANK, lora_dropout=0, bias="none",
        use_gradient_checkpointing="unsloth", random_state=3407,
    )  # fmt: skip
    settings = common.sft_settings(asked.steps, dataset_text_field="text", packing=asked.packing)
    trainer = SFTTrainer(
        model=model, processing_class=tokenizer, train_dataset=Dataset.from_list(common.rows(asked, tokenizer)),
        args=SFTConfig(**settings),
    )  # fmt: skip
    common.float_adapter(model)
    clock = common.Clock()
    clock.watch(trainer)
    torch.cuda.reset_peak_memory_stats()
    trainer.train()
    clock.report("unsloth packing" if asked.packing else "unsloth notebook", asked)


if __name__ == "__main__":
    main()
