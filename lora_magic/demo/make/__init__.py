"""The scripts that made the embedded demo: a toy world, its corpus, the tokenizer, the base model, the data sets.

`python -m lora_magic.demo.make --out FOLDER` does everything with a fixed seed;
`python -m tests.benchmarks.demo_figures` prints what the result can do.
"""
