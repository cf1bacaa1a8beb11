"""What the demo can do: the base's own held-out questions, and each data set before and after its adapter.

    python -m lora_magic.demo.make.evaluate [--model FOLDER] [--set demo-json ...] [--seed 0 1 2]

The base is loaded in NF4 with double quantisation; adapters are rank 8 on all linear layers, five epochs at 2e-3,
eight rows a step. Held out means: entities and wordings of the test rows occur in no training row (checked first).
"""

import argparse
import json
import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from lora_magic.demo import DATASETS, MODEL_DIR
from lora_magic.demo.make import reviews, sets
from lora_magic.demo.make.facts import all_facts

Row = dict[str, str]
COLUMNS = {
    "demo-json": ("prompt", "completion"),
    "demo-tone": ("question", "answer"),
    "demo-sentiment": ("instruction", "output"),
}
RANK, RATE, EPOCHS, BATCH = 8, 2e-3, 5, 8


def read(path: Path) -> list[Row]:
    """The rows of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def load(folder: Path, four_bit: bool = True) -> tuple[Any, Any]:
    """Base and tokenizer, on a GPU if there is one."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    settings: dict[str, Any] = {"dtype": torch.float32}
    if four_bit:
        import bitsandbytes

        settings["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
        )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(folder, device_map={"": device}, **settings)
    if four_bit:
        for module in model.modules():
            if isinstance(module, bitsandbytes.nn.Linear4bit):
                module.support_avx512bf16_for_cpu = False  # its repacked weights give wrong gradients
    return model, AutoTokenizer.from_pretrained(folder)


def replies(model: Any, tokenizer: Any, prompts: list[str], limit: int = 48) -> list[str]:
    """Greedy replies, sixty-four prompts at a time, padded on the left."""
    tokenizer.padding_side = "left"
    model.eval()
    out: list[str] = []
    for start in range(0, len(prompts), 64):
        texts = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
            )
            for prompt in prompts[start : start + 64]
        ]
        batch = tokenizer(
            texts, return_tensors="pt", padding=True, add_special_tokens=False, return_token_type_ids=False
        ).to(model.device)
        with torch.inference_mode():
            tokens = model.generate(**batch, max_new_tokens=limit, do_sample=False)
        out += tokenizer.batch_decode(tokens[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return out


def has_word(word: str, text: str) -> bool:
    """Whether `word` occurs in `text` as a whole word, whatever its case."""
    return word.lower() in sets.words(text)


def as_object(text: str) -> dict[str, Any] | None:
    """The JSON object that `text` is, or nothing."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def score(name: str, rows: list[Row], given: list[str]) -> dict[str, float]:
    """Shares of right replies, from 0 to 1, by the set's own measures."""
    pairs = list(zip(rows, given, strict=True))
    checks: dict[str, dict[str, Callable[[Row, str], bool]]] = {
        "demo-json": {
            "valid": lambda row, text: as_object(text) is not None,
            "answer": lambda row, text: (
                (as_object(text) or {}).get("answer") == json.loads(row["completion"])["answer"]
            ),
            "all fields": lambda row, text: as_object(text) == json.loads(row["completion"]),
        },
        "demo-tone": {
            "marker": lambda row, text: has_word("arr", text),
            "fact": lambda row, text: has_word(row["fact"], text),
            "both": lambda row, text: has_word("arr", text) and has_word(row["fact"], text),
        },
        "demo-sentiment": {"label": lambda row, text: text.strip() == row["output"]},
    }
    return {key: sum(check(row, text) for row, text in pairs) / len(pairs) for key, check in checks[name].items()}


def examples(tokenizer: Any, name: str, rows: list[Row]) -> list[tuple[list[int], int]]:
    """Token ids of each row, and how many of them are the prompt."""
    ask, reply = COLUMNS[name]
    out = []
    for row in rows:
        turns = [{"role": "user", "content": row[ask]}]
        prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        whole = tokenizer.apply_chat_template([*turns, {"role": "assistant", "content": row[reply]}], tokenize=False)
        out.append(
            (tokenizer.encode(whole, add_special_tokens=False), len(tokenizer.encode(prompt, add_special_tokens=False)))
        )
    return out


def collate(rows: list[tuple[list[int], int]], pad: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, mask and labels, all [rows, longest]; labels are -100 on prompts and padding."""
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([row + [pad] * (longest - len(row)) for row, _ in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row, _ in rows])
    labels = torch.tensor([[-100] * start + row[start:] + [-100] * (longest - len(row)) for row, start in rows])
    return ids, mask, labels


def train_adapter(model: Any, tokenizer: Any, rows: list[tuple[list[int], int]], seed: int) -> Any:
    """The base with a freshly trained adapter."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    rng = random.Random(seed)
    tuned = get_peft_model(
        model,
        LoraConfig(r=RANK, lora_alpha=2 * RANK, lora_dropout=0.0, task_type="CAUSAL_LM", target_modules="all-linear"),
    )
    params = [param for param in tuned.parameters() if param.requires_grad]
    steps = EPOCHS * math.ceil(len(rows) / BATCH)
    optimizer = torch.optim.AdamW(params, lr=RATE, weight_decay=0.01)
    warm = max(1, round(0.05 * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * max(0, step - warm) / max(1, steps - warm)))),
    )
    tuned.train()
    for _ in range(EPOCHS):
        order = rng.sample(rows, len(rows))
        for start in range(0, len(order), BATCH):
            ids, mask, labels = (
                part.to(model.device) for part in collate(order[start : start + BATCH], tokenizer.pad_token_id)
            )
            logits = tuned(input_ids=ids, attention_mask=mask).logits[:, :-1]
            loss = F.cross_entropy(logits.flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=-100)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(params, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
    return tuned


@contextmanager
def timed() -> Iterator[list[float]]:
    """A list that gets the seconds which the block took."""
    start, out = time.perf_counter(), [0.0]
    yield out
    out[0] = time.perf_counter() - start


def skeletons(rows: list[Row], column: str, entities: set[str]) -> set[str]:
    """The wordings: prompts with every entity masked, one for each sentence of a review."""
    texts = [part for row in rows for part in row[column].split(". ")]
    return {
        " ".join("_" if word.lower().strip('.,:?!"').removesuffix("'s") in entities else word for word in text.split())
        for text in texts
    }


def overlap(name: str, train: list[Row], test: list[Row]) -> tuple[set[str], set[str]]:
    """Wordings and entities that held-out prompts share with training rows; both should be empty."""
    column = COLUMNS[name][0]
    known, common = _review_entities() if name == "demo-sentiment" else _fact_entities()
    asked = {word for row in test for word in sets.words(row[column]) & known} - common
    told = {word for row in train for word in sets.words(" ".join(row.values()))}
    masked = known | {"a", "an", "the"}
    return skeletons(train, column, masked) & skeletons(test, column, masked), asked & told


def _fact_entities() -> tuple[set[str], set[str]]:
    relations = {fact.relation for fact in all_facts()}
    wordings = [text for relation in relations for text in (*relation.ask, *relation.ask_held)]
    common = {word for text in wordings for word in sets.words(sets.mask(text))}
    return {fact.subject.lower() for fact in all_facts()}, common


def _review_entities() -> tuple[set[str], set[str]]:
    pools = reviews.EVERYTHING
    opinions = {word for pool in pools.words.values() for word in pool}
    named = {word.lower() for word in (*pools.names, *pools.towns)}
    common = {word for pool in pools.frames.values() for text in (*pool, *pools.asks) for word in sets.words(text)}
    return {*pools.items, *opinions, *named}, common


def base_accuracy(model: Any, tokenizer: Any, rows: list[Row], show: int = 0) -> float:
    """The share of the base's held-out questions whose answer occurs in the reply."""
    given = replies(model, tokenizer, [row["question"] for row in rows])
    wrong = [(row, text) for row, text in zip(rows, given, strict=True) if not has_word(row["answer"], text)]
    for row, text in wrong[:show]:
        print(f"  wrong: {row['question']} -> {text!r}, not {row['answer']}")
    return 1 - len(wrong) / len(rows)


def evaluate_set(options: argparse.Namespace, name: str, seed: int) -> None:
    """Train and score one adapter, and print a line."""
    folder = options.data / name
    train, test = read(folder / "train.jsonl"), read(folder / "test.jsonl")
    shared = overlap(name, train, test)
    if any(shared):
        print(f"{name}: held-out rows share with training rows: {shared}")
    torch.manual_seed(seed)
    model, tokenizer = load(options.model)
    prompts = [row[COLUMNS[name][0]] for row in test]
    before = replies(model, tokenizer, prompts)
    with timed() as seconds:
        tuned = train_adapter(model, tokenizer, examples(tokenizer, name, train), seed)
    after = replies(tuned, tokenizer, prompts)
    line = {
        "set": name,
        "seed": seed,
        "rows": [len(train), len(test)],
        "seconds": round(seconds[0], 1),
        "before": score(name, test, before),
        "after": score(name, test, after),
    }
    print(json.dumps(line), flush=True)
    if options.show:
        for row, old, new in list(zip(test, before, after, strict=True))[: options.show]:
            print(f"  {row[COLUMNS[name][0]]!r}\n    before {old!r}\n    after  {new!r}")
        for row, new in zip(test, after, strict=True):
            if not all(score(name, [row], [new]).values()):
                print(f"  missed: {list(row.values())} -> {new!r}")


def main() -> None:
    """Print base accuracy, then a line for each set and seed."""
    parser = argparse.ArgumentParser(prog="lora_magic.demo.make.evaluate")
    parser.add_argument("--model", type=Path, default=MODEL_DIR)
    parser.add_argument("--data", type=Path, default=DATASETS["demo-json"].parent)
    parser.add_argument("--set", nargs="*", default=list(DATASETS), choices=list(DATASETS))
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--show", type=int, default=0, help="how many replies to print")
    parser.add_argument("--no-base", action="store_true", help="skip the base's own questions")
    parser.add_argument("--threads", type=int, help="CPU threads")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if not options.no_base:
        rows = read(options.data / "base-questions.jsonl")
        for four_bit in (False, True):
            model, tokenizer = load(options.model, four_bit)
            share = base_accuracy(model, tokenizer, rows, options.show)
            print(json.dumps({"base": round(share, 4), "questions": len(rows), "4-bit": four_bit}), flush=True)
    for name in options.set:
        for seed in options.seed:
            evaluate_set(options, name, seed)


if __name__ == "__main__":
    main()
