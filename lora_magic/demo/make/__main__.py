"""Make the demo: corpus, tokenizer, base model, data sets.

    python -m lora_magic.demo.make --out lora_magic/demo/model [--data lora_magic/demo/data] [--seed 0]

All steps see about 300 million tokens: five minutes on a large GPU, most of a day on two CPU cores, where `--steps`
makes a shorter and weaker run.
"""

import argparse
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from lora_magic.demo.make import corpus, sets, tokenizer

BARE_ENTRIES = 2100
DATA_SEED = 11


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="lora_magic.demo.make", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--data", type=Path, help="folder of the data sets; not written if absent")
    parser.add_argument("--corpus", type=Path, help="folder to keep the corpus in")
    parser.add_argument("--examples", type=int, default=3_000_000, help="conversations in the corpus")
    parser.add_argument("--steps", type=int, default=9_000)
    parser.add_argument("--muon-rate", type=float, default=0.008, help="peak rate of the layers' matrices")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--threads", type=int, help="CPU threads of the training")
    return parser.parse_args()


def make_model(options: argparse.Namespace, folder: Path) -> None:
    """Write the corpus under `folder`, learn the tokenizer, train the base, save both under `options.out`."""
    import torch

    from lora_magic.demo.make import train

    if options.threads:
        torch.set_num_threads(options.threads)
    paths = corpus.write(folder, options.examples, options.seed, options.workers)
    shape, recipe = train.Shape(), train.Recipe(options.steps, muon_rate=options.muon_rate, seed=options.seed)
    bpe = tokenizer.train(paths, shape.vocabulary, BARE_ENTRIES)
    tokenizer.save(bpe, options.out, shape.positions)
    special = tokenizer.token_ids(bpe)
    pad, bos, end = (special[token] for token in (tokenizer.PAD, tokenizer.BOS, tokenizer.END))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with ProcessPoolExecutor(options.workers) as pool:
        shards = list(pool.map(partial(tokenizer.encode, options.out), paths))
    batches = train.Batches(shards, pad, recipe.tokens, device)
    torch.manual_seed(options.seed)
    model = train.build(shape, pad, bos, end).to(device)
    train.fit(model, batches, recipe)
    train.save(model, options.out, end, pad)


def main() -> None:
    """Run all steps; with a seed, each gives the same files again on the same kind of machine."""
    options = _arguments()
    if options.data:
        sets.write(options.data, DATA_SEED)
    if options.corpus:
        make_model(options, options.corpus)
        return
    with tempfile.TemporaryDirectory() as folder:
        make_model(options, Path(folder))


if __name__ == "__main__":
    main()
