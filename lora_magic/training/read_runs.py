"""Whole runs read from their records, as far as they can be; nothing here raises for a damaged one."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from lora_magic.backends.saved import RUNS
from lora_magic.errors import LoraError
from lora_magic.results import Runs, RunSummary
from lora_magic.training.runs import ADAPTER, METRICS, find_run, is_file, is_run, read_settings

HEAD_BYTES, TAIL_BYTES = 48 * 2**20, 16 * 2**20
LONGEST_LINE = 2**20
RECENT_SECONDS = 120.0
_ENDINGS = ("completed", "interrupted", "early stop", "failed")
_MOST_STEPS, _MOST_SECONDS = 2**53, 1e9


def read_runs(names: Sequence[str] | None = None) -> Runs:
    """The named runs in the order given, or all in ./lora_runs, the newest first.

    Args:
        names: names in ./lora_runs or paths of runs' folders; None for all.

    Raises:
        LoraError: a name that is no run, with the nearest. Damaged records are no error.
    """
    root = RUNS.absolute()
    if names is not None:
        folders = dict.fromkeys(find_run(name) for name in names)
        return Runs(tuple(read_run(folder) for folder in folders), root)
    entries: list[Path] = []
    with suppress(OSError):
        entries = sorted(path for path in root.iterdir() if not path.name.startswith("."))
    runs = [read_run(path) for path in entries if is_run(path)]
    strays = [path.name for path in entries if not is_run(path)]
    notes = (f"Not a run: {', '.join(strays[:8])}{', …' if len(strays) > 8 else ''}",) if strays else ()
    return Runs(tuple(sorted(runs, key=_age)), root, notes)


def _age(run: RunSummary) -> float:
    return -run.began.timestamp() if run.began else math.inf


def read_run(folder: Path) -> RunSummary:
    """What the record in `folder` says; what cannot be read is said in the notes."""
    notes: list[str] = []
    config: dict[str, Any] = {}
    try:
        config = read_settings(folder)
    except LoraError as error:
        notes.append(error.problem)
    said = _Said()
    changed = _changed(folder / METRICS)
    if is_file(folder / METRICS):
        try:
            notes += said.read(folder / METRICS)
        except OSError as error:
            notes.append(f"{METRICS} cannot be read: {error.strerror or error}.")
    else:
        notes.append(f"{METRICS} is missing: no loss is known.")
    if said.reason == "unfinished" and changed is not None and abs(time.time() - changed) < RECENT_SECONDS:
        notes.append(
            f"Its record was written to in the last {RECENT_SECONDS / 60:.0f} minutes: it may still be running."
        )
    began = said.began or _local(_changed(folder / "config.yaml") or changed)
    adapter = folder / ADAPTER
    whole = is_file(adapter / "adapter_config.json") and is_file(adapter / "adapter_model.safetensors")
    if not whole and said.reason in ("completed", "interrupted", "early stop"):
        notes.append("Its adapter is not there.")
    return RunSummary(
        name=folder.name, path=folder, began=began, model=_text(said.started.get("model") or config.get("model")),
        data=_text(config.get("data")), config=config, losses=tuple(said.losses), eval_losses=tuple(said.held_out),
        step=said.step, planned_steps=_step(said.started.get("planned_steps")), seconds=said.seconds,
        reason=said.reason, message=said.message, adapter_path=adapter if whole else None, notes=tuple(notes),
    )  # fmt: skip


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _changed(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _local(seconds: float | None) -> datetime | None:
    with suppress(OverflowError, ValueError, OSError):
        return None if seconds is None else datetime.fromtimestamp(seconds).astimezone()
    return None


def _step(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < _MOST_STEPS else None


def _number(value: Any) -> float | None:
    try:
        return float(value) if type(value) in (int, float) else None
    except OverflowError:
        return None


class _Said:
    """What the lines of metrics.jsonl add up to.

    Steps that are made again, after a resume, take the place of the earlier ones.
    """

    def __init__(self) -> None:
        self.losses: list[tuple[int, float]] = []
        self.held_out: list[tuple[int, float]] = []
        self.started: Mapping[str, Any] = {}
        self.began: datetime | None = None
        self.step, self.seconds = 0, 0.0
        self.reason, self.message = "unfinished", ""
        self._kinds = {
            "started": self._started, "stepped": self._stepped, "evaluated": self._evaluated,
            "finished": self._finished,
        }  # fmt: skip

    def read(self, path: Path) -> list[str]:
        """Take in the whole file, or both ends of a very large one.

        Returns:
            What could not be read, in sentences.

        Raises:
            OSError: the disk refuses.
        """
        unread = lines = 0
        taken, line = True, b""
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            for line in _lines(file, size):
                lines += 1
                taken = self._take(line)
                unread += not taken
        notes = []
        if not taken and not line.endswith(b"\n"):
            unread -= 1
            notes.append(f"The last line of {METRICS} is not whole.")
        if not lines:
            notes.append(f"{METRICS} is empty.")
        if size > HEAD_BYTES + TAIL_BYTES:
            read = f"the first {HEAD_BYTES // 2**20} and the last {TAIL_BYTES // 2**20} MiB were read"
            notes.append(f"{METRICS} is very large ({size / 2**20:,.0f} MiB): {read}.")
        if unread:
            notes.append(f"{unread:,} of {lines:,} lines of {METRICS} could not be read.")
        return notes

    def _take(self, line: bytes) -> bool:
        """Whether `line` was an event; an event of a kind unknown here is one."""
        if len(line) >= LONGEST_LINE:
            return False
        try:
            event = json.loads(str(line, "utf-8"))
        except (ValueError, RecursionError):
            return False
        if not isinstance(event, dict) or not isinstance(event.get("event"), str):
            return False
        take = self._kinds.get(event["event"])
        return take is None or take(event)

    def _started(self, event: Mapping[str, Any]) -> bool:
        self.started = event
        self.reason, self.message = "unfinished", ""
        if self.began is None and isinstance(event.get("time"), str):
            with suppress(ValueError, OverflowError, OSError):
                told = datetime.fromisoformat(event["time"])
                self.began = (told if told.tzinfo else told.replace(tzinfo=UTC)).astimezone()
        return True

    def _stepped(self, event: Mapping[str, Any]) -> bool:
        return self._point(self.losses, event)

    def _evaluated(self, event: Mapping[str, Any]) -> bool:
        return self._point(self.held_out, event)

    def _point(self, points: list[tuple[int, float]], event: Mapping[str, Any]) -> bool:
        step, loss = _step(event.get("step")), _number(event.get("loss"))
        if step is None or loss is None:
            return False
        while points and points[-1][0] >= step:
            points.pop()
        points.append((step, loss))
        self.step = step
        self._time(event)
        return True

    def _finished(self, event: Mapping[str, Any]) -> bool:
        reason, step = event.get("reason"), _step(event.get("step"))
        if reason not in _ENDINGS or step is None:
            return False
        self.reason, self.message, self.step = str(reason), _text(event.get("message")), step
        self._time(event)
        return True

    def _time(self, event: Mapping[str, Any]) -> None:
        seconds = _number(event.get("seconds"))
        if seconds is not None and 0 <= seconds < _MOST_SECONDS:
            self.seconds = seconds


def _lines(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The lines of a file, of a very large one only those at both ends; endless lines come in pieces."""
    left = HEAD_BYTES if size > HEAD_BYTES + TAIL_BYTES else size
    while left > 0 and (line := file.readline(LONGEST_LINE)):
        left -= len(line)
        yield line
    if size > HEAD_BYTES + TAIL_BYTES:
        file.seek(size - TAIL_BYTES)
        file.readline(LONGEST_LINE)
        while line := file.readline(LONGEST_LINE):
            yield line
