"""Biases that train along with an adapter: peft changes the base's own, so they are put back and swapped."""

from __future__ import annotations

from typing import Any


class Biases:
    """The base's biases as loaded, and each adapter's own, copied in and out when adapters switch."""

    def __init__(self) -> None:
        self._originals: list[tuple[Any, Any]] = []
        self._trained: dict[str, list[Any]] = {}
        self._kinds: dict[str, str] = {}
        self._current: str | None = None

    def kind(self, key: str) -> str:
        """Which biases the adapter `key` trains, as peft names it; "none" for none."""
        return self._kinds.get(key, "none")

    def keep(self, model: Any, key: str, kind: str) -> None:
        """Remember the base's biases, and that `key` (now active) trains those that `kind` names."""
        self._kinds[key] = kind
        if not self._originals:
            named = [p for n, p in model.named_parameters() if n.endswith(".bias") and "lora_" not in n]
            self._originals = [(p, p.detach().clone()) for p in named]
        self._trained[key] = [saved.clone() for _, saved in self._originals]
        self._current = key

    def switch(self, key: str | None) -> None:
        """Store the active adapter's biases and put in those of `key`, or the base's own."""
        if self._current is not None:
            self._trained[self._current] = [p.detach().clone() for p, _ in self._originals]
        self._current = key if key in self._trained else None
        if self._originals:
            saved = self._trained[key] if key in self._trained else [b for _, b in self._originals]
            for (parameter, _), value in zip(self._originals, saved, strict=True):
                parameter.data = value.clone()
            self.rest()

    def rest(self) -> None:
        """Put all in the base's own precision, which answers are computed in, and out of training's reach.

        Training makes those that it opens float32.
        """
        for parameter, original in self._originals:
            parameter.data = parameter.data.to(original.dtype)
            parameter.requires_grad_(False)

    def drop(self, key: str) -> None:
        """Forget the biases of `key`, which must not be active."""
        self._trained.pop(key, None)
        self._kinds.pop(key, None)
