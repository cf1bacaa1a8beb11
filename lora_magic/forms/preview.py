"""What choices lead to, beside a form: the first row as it is trained on, and what the card has to hold.

Both are made while somebody types, so of many rows only the first are read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_magic.config import DataConfig, DataOptions, PlanConfig, TrainConfig
from lora_magic.config.fields import Config
from lora_magic.display import theme, units
from lora_magic.display.data_tokens import rows_html
from lora_magic.display.plan_bar import bar_html
from lora_magic.display.progress import Progress
from lora_magic.display.safe import inline
from lora_magic.forms.little import little
from lora_magic.forms.place import complaint
from lora_magic.planning.here import card_here
from lora_magic.results import PlanResult

if TYPE_CHECKING:
    from lora_magic.session import Session

_HEAD = f"{theme.BOX};margin:2px 0"


class Preview:
    """Both views, made anew when what they depend on has changed.

    Beside a run's form they need a loaded base, and the card a card. A plan's form has its card for any model that lies
    on this disk; the rows count there once the model's tokenizer is in memory.

    Args:
        session: whose base counts.
        variables: the notebook's, for data by name.
    """

    def __init__(self, session: Session, variables: Callable[[], Mapping[str, object]]) -> None:
        self._session, self._variables = session, variables
        self._shown: dict[str, tuple[Any, str]] = {}

    def __call__(self, config: Config) -> str:
        """What the settings of a run or of a plan lead to, as HTML."""
        base = self._session.status().base
        if isinstance(config, PlanConfig):
            is_loaded = base is not None and base.model == config.model
            if not is_loaded and config.model != "demo" and not Path(config.model).expanduser().is_dir():
                return ""
            return self._kept("plan", config.model, config if is_loaded else config.replace(data=None), self._plan)
        if base is None or not isinstance(config, TrainConfig) or config.data is None:
            return ""
        parts = [self._kept("tokens", base.model, self._data_config(config), self._tokens)]
        if card_here() is not None:
            parts.append(self._kept("plan", base.model, self._plan_config(config), self._plan))
        return "".join(parts)

    def _kept(self, name: str, model: str, config: Any, make: Callable[[Any], str]) -> str:
        """A view, the last one where nothing that it depends on has changed; an error as its one line."""
        wanted = (model, repr(config.as_dict()), id(config.data) if not isinstance(config.data, str) else 0)
        if self._shown.get(name, (None, ""))[0] != wanted:
            try:
                made = make(config)
            except Exception as error:  # noqa: BLE001  what the run would say too
                made = complaint(error)
            self._shown[name] = (wanted, made)
        return self._shown[name][1]

    @staticmethod
    def _data_config(config: TrainConfig) -> DataConfig:
        shared = {field.name: getattr(config, field.name) for field in dataclasses.fields(DataOptions)}
        return DataConfig(**shared, show=1)

    def _plan_config(self, config: TrainConfig) -> PlanConfig:
        facts = self._session.base.facts
        shared = set(PlanConfig.__dataclass_fields__) & set(TrainConfig.__dataclass_fields__)
        values = {name: getattr(config, name) for name in shared}
        return PlanConfig(**values, model=facts.model, bits=facts.bits, backend=facts.backend, revision=facts.revision)

    def _tokens(self, config: DataConfig) -> str:
        variables = self._variables()
        part = little(config.data, variables)
        if part.data is None:
            return f'<div style="{_HEAD}">{inline(part.said)}</div>'
        found = self._session.data(config.replace(data=part.data), _silent(), variables)
        counted = f"{found.training_rows:,} rows to train on, {found.held_out_rows:,} held out."
        said = f"{part.said or counted} The first one:"
        return f'<div style="{_HEAD}">{inline(said)}{rows_html(found.examples[:1])}</div>'

    def _plan(self, config: PlanConfig) -> str:
        variables = self._variables()
        part = little(config.data, variables)
        config = config.replace(data=part.data, rows=config.rows or part.rows)
        return plan_html(self._session.plan(config, _silent(), variables))


def plan_html(plan: PlanResult) -> str:
    """Peak against the card, and the time, of a plan."""
    estimate = plan.estimate
    said = f"{'fits' if plan.fits else 'does not fit'} {plan.card} · peak {units.gib(plan.peak_gib)}"
    if estimate.steps is not None:
        said += f" · {estimate.steps:,} steps in about {units.duration(estimate.seconds)}"
    return f'<div style="{_HEAD}">{inline(said)}{bar_html(estimate)}</div>'


def _silent() -> Progress:
    return Progress("", surface=lambda _: None)
