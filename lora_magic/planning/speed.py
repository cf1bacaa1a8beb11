"""How long an optimiser step takes on a card: one model of cost with physical parameters.

A micro-batch takes the time of its matrix products, of what passes through memory and of the weights that are
dequantised, or the time that the host needs to launch it all, whichever is longer, and a share of the shorter, since
they wait for each other at copies and synchronising calls. Rates are shares of a card's data sheet; the shares, the
dequantisation's passes and the cost of a launch are fitted to runs that others recorded on real T4s
(`tests/benchmarks/gpu/fit_t4.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lora_magic.errors import LoraError, nearest
from lora_magic.planning.architecture import Architecture
from lora_magic.planning.calibration import data
from lora_magic.planning.memory import weights
from lora_magic.planning.setting import FULL, HALF, Setting
from lora_magic.planning.variants import trainable, wide

FORWARD_KERNELS = {"unsloth": 60, "transformers": 95}
BACKWARD_KERNELS = {"unsloth": 90, "transformers": 150}
"""Launches of a block with seven adapted 4-bit layers, counted in the sources: two to dequantise, one product and
two of LoRA a layer forward, twice that backward, then norms, rotation, attention and the MLP's product; peft adds
casts, additions and separate norms."""
DORA_FORWARD, DORA_BACKWARD = 18, 13
"""Launches that DoRA adds to a layer, counted as torch's operations with peft 0.21 on a 4-bit base."""
TRANSFER = 12e9
"""Bytes a second between machine and card: what PCIe 3.0 with 16 lanes reaches, a T4's."""
LOGITS_TRAFFIC = 20
"""Bytes a logit moves: written, normalised and read back in float32, its gradient written and read in 16 bits."""


@dataclass(frozen=True)
class Costs:
    """The fitted parameters.

    Attributes:
        matrix_share, bandwidth_share: of the data sheet's rates, at most 1.
        dequantisation_passes: how often the bytes of a dequantised layer (packed in, 16 bits out and in) pass.
        launch_us: host time of one kernel in microseconds, Python and autograd included.
        exposed: share of the shorter of GPU and host time that the longer does not hide, at most 1.
        step_ms: of an optimiser step beside its micro-batches.
    """

    matrix_share: float
    bandwidth_share: float
    dequantisation_passes: float
    launch_us: float
    exposed: float
    step_ms: float


@dataclass(frozen=True)
class Card:
    """What a plan needs to know of a GPU; rates are of the data sheet.

    Attributes:
        name: its key in cards.json, or a name of the caller's.
        title: how messages call it.
        memory_gib: what programs see of its memory.
        context_gib: what CUDA takes before torch allocates anything.
        matrix_tflops: dense float16 products summed in float32.
        bandwidth_gbs: of its memory.
        capability: CUDA's.
        costs: parameters measured on this card, where there are some; else the fitted ones hold.
        multiprocessors: of the whole card; 0 is not known.
    """

    name: str
    title: str
    memory_gib: float
    context_gib: float
    matrix_tflops: float
    bandwidth_gbs: float
    capability: tuple[int, int]
    costs: Costs | None = None
    multiprocessors: int = 0


@dataclass(frozen=True)
class Seconds:
    """Where a step's time goes, in seconds.

    Attributes:
        matrix, traffic, dequantisation: of the GPU.
        launches: of the host, partly in parallel with the three.
        rest: once a step.
        exposed: share of the shorter of the two that is not hidden.
        total: of the step.
    """

    matrix: float
    traffic: float
    dequantisation: float
    launches: float
    rest: float
    exposed: float

    @property
    def total(self) -> float:
        """Whichever of GPU and host takes longer, what it does not hide of the other, and the rest."""
        gpu = self.matrix + self.traffic + self.dequantisation
        return max(gpu, self.launches) + self.exposed * min(gpu, self.launches) + self.rest


def card(name: str) -> Card:
    """A card of cards.json; "a100" is the one of 40 GB.

    Raises:
        LoraError: it is not there, with the nearest one.
    """
    cards = {k: v for k, v in data("cards").items() if isinstance(v, dict)}
    key = {"a100": "a100-40", "rtx-3060": "rtx3060", "rtx-4090": "rtx4090"}.get(name.lower(), name.lower())
    if key not in cards:
        known = ", ".join(cards)
        raise LoraError(f'There are no figures for a card called "{name}".', nearest(key, cards) or f"Known: {known}.")
    values = cards[key]
    major, minor = values["capability"]
    costs = Costs(**values["costs"]) if "costs" in values else None
    return Card(
        key, str(values["title"]), float(values["memory_gib"]), float(values["context_gib"]),
        float(values["matrix_tflops"]), float(values["bandwidth_gbs"]), (int(major), int(minor)), costs,
        int(values.get("multiprocessors", 0)),
    )  # fmt: skip


def fitted() -> Costs:
    """The parameters of calibration.json."""
    values: Mapping[str, float] = data("calibration")["speed"]["costs"]
    return Costs(**values)


def step(
    model: Architecture, setting: Setting, on: Card, *, tokens: float, row: float, costs: Costs | None = None
) -> Seconds:
    """The time of one optimiser step, as an estimate.

    Args:
        model: its shapes.
        setting: checkpointing, bits, rank, backend and the number of micro-batches; its largest micro-batch is no
            matter here.
        on: the card.
        tokens: in the whole step, padding included.
        row: mean length of a row, which attention depends on.
        costs: other parameters than the card's own or the fitted ones.
    """
    found = costs or on.costs or fitted()
    again = 0.0 if setting.checkpointing == "off" else 1 - min(setting.kept, model.layers) / model.layers
    rate = on.matrix_tflops * 1e12 * found.matrix_share
    bandwidth = on.bandwidth_gbs * 1e9 * found.bandwidth_share
    norms = setting.accumulation * (1 + again)
    dequantised = _dequantised(model, setting) * (2 + again) * setting.accumulation * found.dequantisation_passes
    update = 16 * trainable(model, setting)
    return Seconds(
        matrix=(tokens * operations(model, setting, row, again) + norms * dora_operations(model, setting)) / rate,
        traffic=(
            tokens * (moved(model, again) + dora_moved(model, setting, again) + _scores(model, setting, row, again))
            + norms * dora_traffic(model, setting)
        )
        / bandwidth,
        dequantisation=dequantised / bandwidth,
        launches=setting.accumulation * model.layers * _kernels(model, setting, again) * found.launch_us * 1e-6,
        rest=found.step_ms * 1e-3 + update / bandwidth + _transfers(model, setting, tokens, found),
        exposed=found.exposed,
    )


def _kernels(model: Architecture, setting: Setting, again: float) -> float:
    """Launches of a block's forward and backward pass."""
    backend = "transformers" if setting.by_peft else setting.backend
    plain = FORWARD_KERNELS[backend] * (1 + again) + BACKWARD_KERNELS[backend]
    layers = len(model.targets(setting.target)) if setting.dora else 0
    return plain + layers * (DORA_FORWARD * (1 + again) + DORA_BACKWARD)


def _transfers(model: Architecture, setting: Setting, tokens: float, costs: Costs) -> float:
    """Seconds a step that copies between card and machine are not hidden: layer inputs, a paged optimiser's states."""
    inputs = 0.0
    if setting.checkpointing == "offload":
        inputs = (
            2
            * tokens
            * (FULL if wide(model, setting) else HALF)
            * model.hidden
            * (model.layers - min(setting.kept, model.layers))
        )
    paged = 2 * 2 * trainable(model, setting) if setting.optimizer.startswith("paged") else 0
    return (costs.exposed * inputs + paged) / TRANSFER


def operations(model: Architecture, setting: Setting, row: float, again: float) -> float:
    """Floating-point operations a token of one forward and backward pass, `again` the share of blocks run twice.

    A product costs two operations a weight forward and two for the input's gradient; where weights are trained two
    more. Scores and their weighted sum see half of a row each on average, and cost 2.5 times as much backward. DoRA
    with dropout computes the base's outputs again, from the dropped inputs.
    """
    trained = 2.0 if setting.full else 0.0
    linear = 2 * model.linear * (2 + again) + trained * model.linear
    adapter = 0.0 if setting.full else 2 * model.adapter(setting.rank, setting.target) * (3 + again)
    if setting.dora and setting.drops:
        linear += 2 * model.layers * sum(p.weights for p in model.targets(setting.target)) * (2 + again)
    head = 4 * model.vocabulary * model.hidden + trained * model.vocabulary * model.hidden
    attention = 2 * model.layers * model.queries * row * (3.5 + again)
    return linear + adapter + head + attention


def moved(model: Architecture, again: float) -> float:
    """Bytes a token that pass through memory outside of weights: inputs and outputs of every kernel in 16 bits.

    Norms and residual sums read and write the stream, LoRA adds onto each output, the backward pass moves twice as
    much as the forward pass.
    """
    stream = (2 * model.stream_norms + 6) * model.hidden
    layers = sum(p.inputs + 3 * p.outputs for p in model.projections)
    rest = 3 * model.intermediate + 4 * (model.queries + model.keys)
    block = HALF * (stream + layers + rest) * (3 + again)
    return model.layers * block + model.vocabulary * LOGITS_TRAFFIC


def dora_operations(model: Architecture, setting: Setting) -> int:
    """Floating-point operations of the products BA in one forward pass: A and B applied to a unit matrix.

    They do not depend on the tokens, nor does `dora_traffic`.
    """
    if not setting.dora:
        return 0
    each = (2 * setting.rank * p.inputs * (p.inputs + p.outputs) for p in model.targets(setting.target))
    return model.layers * sum(each)


def dora_traffic(model: Architecture, setting: Setting) -> int:
    """Bytes that the norms of one forward pass move.

    The unit matrix is written in float32, read, written and read in 16 bits. BA and W are written and read in 16 bits
    and written in float32; BA is read and written scaled; both are read, their sum is written, and read for its norm.
    """
    if not setting.dora:
        return 0
    unit, matrix = 2 * FULL + 2 * HALF, 2 * (2 * HALF + FULL) + 2 * FULL + 3 * FULL + FULL
    return model.layers * sum(unit * p.inputs**2 + matrix * p.weights for p in model.targets(setting.target))


def dora_moved(model: Architecture, setting: Setting, again: float) -> float:
    """Bytes a token that DoRA's outputs add to `moved`.

    The base's and the adapter's output are scaled into float32, the latter once more, then summed and added.
    """
    if not setting.dora:
        return 0.0
    each = 2 * (HALF + FULL) + 2 * FULL + 3 * FULL + HALF + 2 * FULL
    return each * model.layers * sum(p.outputs for p in model.targets(setting.target)) * (3 + again)


def _scores(model: Architecture, setting: Setting, row: float, again: float) -> float:
    """Bytes a token of attention scores in float32, where no kernel keeps them on the chip: six passes each way."""
    if setting.attention != "math":
        return 0.0
    return model.layers * model.heads * row * FULL * 6 * (3 + again)


def _dequantised(model: Architecture, setting: Setting) -> float:
    """Bytes of one pass over all blocks' weights: packed in, 16 bits out, and in again for the product."""
    packed = weights(model, setting.bits, full=setting.full) - (model.embedding + model.small) * HALF
    if setting.full or setting.bits > 8 or setting.expanded:
        return float(model.linear * HALF)
    return packed + 2 * HALF * model.linear
