"""Attention of rows that lie end to end: one kernel call a layer where Unsloth makes one for each row.

Without xformers, on cards that have no FlashAttention (Turing) or with it turned off, Unsloth cuts queries, keys and
values into rows. Backward each cut fills a gradient of the whole pass with zeros, copies into it and adds it up:
a fifth of the GPU's time with rows of 200 tokens. The kernel that it calls for each row takes all of them at once.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

WHERE, NAME = "unsloth.utils.attention_dispatch", "_sdpa_packed_segments"
CAUSAL = 1
"""The kernel's mask: each row's tokens see themselves and what stands before them in their row."""


def put_in() -> None:
    """Have Unsloth attend all rows of a pass at once where that is the same computation; nothing where it cannot."""
    try:
        module = importlib.import_module(WHERE)
    except ImportError:
        return
    own = getattr(module, NAME, None)
    if own is not None and not hasattr(own, "for_each_row"):
        setattr(module, NAME, _standing_in_for(own))


def _standing_in_for(own: Callable[..., Any]) -> Callable[..., Any]:
    def attend(
        query: Any, key: Any, value: Any, lengths: Sequence[int], *,
        n_groups: int, is_causal: bool, sliding_window: int | None, sdpa_kwargs: dict[str, Any], **others: Any,
    ) -> Any:  # fmt: skip
        rows = tuple(length for length in lengths if length > 0)
        windowed = sliding_window is not None and max(rows, default=0) > sliding_window
        plain = is_causal and not windowed and not set(sdpa_kwargs) - {"scale", "is_causal", "enable_gqa"}
        if plain and sum(rows) == query.shape[-2] and _suits(query, key, value, n_groups):
            return at_once(query, key, value, rows, scale=sdpa_kwargs.get("scale"))
        return own(
            query, key, value, lengths, n_groups=n_groups, is_causal=is_causal, sliding_window=sliding_window,
            sdpa_kwargs=sdpa_kwargs, **others,
        )  # fmt: skip

    attend.for_each_row = own  # type: ignore[attr-defined]
    return attend


def at_once(query: Any, key: Any, value: Any, lengths: tuple[int, ...], *, scale: float | None = None) -> Any:
    """Causal attention within each row.

    Args:
        query: of shape (1, heads, tokens, head size), on CUDA.
        key: of shape (1, key heads, tokens, head size); each serves heads / key heads queries.
        value: of the same shape.
        lengths: tokens of each row, none of them 0.
        scale: of the scores; None is 1 / sqrt(head size).

    Returns:
        Of shape (1, tokens, heads, head size).
    """
    import torch

    groups = query.shape[1] // key.shape[1]
    q, k, v = (x.transpose(1, 2) for x in (query, key, value))
    if groups > 1:
        k, v = (x.repeat_interleave(groups, dim=2) for x in (k, v))
    starts, longest = _starts(lengths, query.device), max(lengths)
    backward = torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))
    found = torch.ops.aten._efficient_attention_forward(
        q, k, v, None, starts, starts, longest, longest, 0.0, CAUSAL, backward, scale=scale
    )
    return found[0]


@lru_cache(maxsize=4)
def _starts(lengths: tuple[int, ...], device: Any) -> Any:
    """Where each row begins, and where the last one ends."""
    import torch

    with torch.inference_mode(False):  # what is kept must serve training, too
        starts = torch.zeros(len(lengths) + 1, dtype=torch.int32)
        starts[1:] = torch.tensor(lengths).cumsum(0)
        return starts.to(device)


def _suits(query: Any, key: Any, value: Any, groups: int) -> bool:
    """Whether torch would take the same kernel for each row."""
    import torch

    if not query.is_cuda or torch.version.hip is not None or torch.compiler.is_compiling():
        return False
    if not query.dtype == key.dtype == value.dtype or query.shape[1] != groups * key.shape[1]:
        return False
    return _efficient(query.device, query.dtype, query.shape[1], query.shape[-1], _enabled())


def _enabled() -> tuple[bool, ...]:
    from torch.backends import cuda

    return (
        cuda.flash_sdp_enabled(), cuda.cudnn_sdp_enabled(), cuda.mem_efficient_sdp_enabled(), cuda.math_sdp_enabled()
    )  # fmt: skip


@lru_cache(maxsize=64)
def _efficient(device: Any, dtype: Any, heads: int, size: int, _enabled_now: tuple[bool, ...]) -> bool:
    """Whether torch chooses the memory-efficient kernel for training on rows of these shapes."""
    import torch
    from torch.nn.attention import SDPBackend

    x = torch.empty(1, heads, 64, size, device=device, dtype=dtype).requires_grad_()
    with torch.enable_grad():
        return bool(torch._fused_sdp_choice(x, x, x, is_causal=True) == SDPBackend.EFFICIENT_ATTENTION.value)
