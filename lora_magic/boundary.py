"""Where errors leave for the user: one line, and no frame behind it that keeps a model in memory."""

from __future__ import annotations

import functools
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import ParamSpec, TypeVar

from lora_magic.errors import Interrupted, LoraError

P = ParamSpec("P")
T = TypeVar("T")

_debug: ContextVar[bool] = ContextVar("lora_magic_debug", default=False)


@contextmanager
def debugging(on: bool) -> Iterator[None]:
    """Inside, errors keep their traceback if `on`."""
    token = _debug.set(on or _debug.get())
    try:
        yield
    finally:
        _debug.reset(token)


def boundary(function: Callable[P, T]) -> Callable[P, T]:
    """Wrap a public function so that whatever goes wrong reaches the user as one `LoraError`.

    IPython keeps the last exception with its frames, and frames keep their variables, tensors among them. So a
    fresh exception leaves here and the old one's frames are emptied. Inside `debugging(True)`, or with
    LORA_MAGIC_DEBUG set in the environment, the original goes through, traceback and all.
    """

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except (Exception, KeyboardInterrupt) as error:
            if _debug.get() or os.environ.get("LORA_MAGIC_DEBUG"):
                if isinstance(error, LoraError):
                    error.with_traceback_shown = True
                raise
            leaving = _fresh(error)
            _empty(error)
        raise leaving

    return guarded


def _fresh(error: BaseException) -> BaseException:
    if isinstance(error, Interrupted):
        return Interrupted(error.problem, error.kept)
    if isinstance(error, KeyboardInterrupt):
        return KeyboardInterrupt()
    if isinstance(error, LoraError):
        return LoraError(error.problem, error.remedy)
    text = " ".join(str(error).split()) or "no message"
    where = traceback.extract_tb(error.__traceback__)[-1]
    return LoraError(
        f"{type(error).__name__}: {text[:300]} ({Path(where.filename).name} line {where.lineno}).",
        "We did not foresee this. For the traceback run it again with --debug, or set LORA_MAGIC_DEBUG=1.",
    )


def _empty(error: BaseException | None) -> None:
    """Clear the frames of `error` and of those behind it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        following = error.__cause__ or error.__context__
        error.__cause__ = error.__context__ = error.__traceback__ = None
        error = following
