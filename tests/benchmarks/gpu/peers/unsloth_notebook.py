"""What an Unsloth notebook does: micro-batches of 2, four a step, its own checkpointing; `--packing` packs rows.

Packed rows of 2,048 tokens in batches of eight would be a step of many more than eight examples, which learns something
else; `--packing` makes each step one packed row as long as eight examples are, `--packing-as-is` leaves all as it is.

python -m tests.benchmarks.gpu.peers.unsloth_notebook MODEL DATA.jsonl [--packing|--packing-as-is] [--mask answers]
"""

from tests.benchmarks.gpu import machine
from tests.benchmarks.gpu.peers import common


def main() -> None:
    """Train and print the line."""
    asked = common.options(
        __doc__ or "", packing={"action": "store_true", "help": "trl's packing, Unsloth's kernels"},
        packing_as_is={"action": "store_true", "help": "the same with 8 packed rows of 2,048 tokens a step"},
    )  # fmt: skip
    import unsloth  # noqa: F401  before all it patches

    common.turn(asked)
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
    rows = common.rows(asked, tokenizer)
    settings = common.sft_settings(asked.steps, dataset_text_field="text", packing=asked.packing or asked.packing_as_is)
    if asked.packing:
        settings |= {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 1,
                     "max_length": common.eight_examples(rows, tokenizer)}  # fmt: skip
    trainer = SFTTrainer(
        model=model, processing_class=tokenizer, train_dataset=Dataset.from_list(rows), args=SFTConfig(**settings)
    )
    common.float_adapter(model)
    clock = common.Clock()
    clock.watch(trainer)
    torch.cuda.reset_peak_memory_stats()
    trainer.train()
    as_is = "unsloth packing, 2,048 x 8" if asked.packing_as_is else "unsloth notebook"
    clock.report("unsloth packing" if asked.packing else as_is, asked)


if __name__ == "__main__":
    main()
