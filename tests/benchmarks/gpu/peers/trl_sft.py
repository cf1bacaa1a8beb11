"""transformers, peft, bitsandbytes and trl alone: micro-batches of 2, four a step, trl's own checkpointing.

python -m tests.benchmarks.gpu.peers.trl_sft MODEL DATA.jsonl [--mask answers]
"""

from tests.benchmarks.gpu import machine
from tests.benchmarks.gpu.peers import common


def main() -> None:
    """Train and print the line."""
    asked = common.options(__doc__ or "")
    import torch
    from datasets import Dataset
    from peft import LoraConfig, prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
    from trl import SFTConfig, SFTTrainer

    common.turn(asked)
    machine.hold(asked.limit_gib)
    four_bits = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float16,
    )  # fmt: skip
    base = AutoModelForCausalLM.from_pretrained(
        asked.model, dtype=torch.float16, device_map={"": 0}, quantization_config=four_bits
    )
    tokenizer = AutoTokenizer.from_pretrained(asked.model)
    settings = common.sft_settings(asked.steps, dataset_text_field="text", gradient_checkpointing=True)
    trainer = SFTTrainer(
        model=prepare_model_for_kbit_training(base), processing_class=tokenizer,
        train_dataset=Dataset.from_list(common.rows(asked, tokenizer)), args=SFTConfig(**settings),
        peft_config=LoraConfig(
            r=common.RANK, lora_alpha=common.RANK, target_modules=machine.PROJECTIONS, task_type="CAUSAL_LM"
        ),
    )  # fmt: skip
    common.float_adapter(trainer.model)
    clock = common.Clock()
    clock.watch(trainer)
    torch.cuda.reset_peak_memory_stats()
    trainer.train()
    clock.report("trl", asked)


if __name__ == "__main__":
    main()
