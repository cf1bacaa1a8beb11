"""A conversation: each column answers with a history of its own, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from lora_magic.backends.answers import row_seed
from lora_magic.backends.base import Decoding
from lora_magic.config.chat import ChatConfig
from lora_magic.dataset.cells import as_text
from lora_magic.dataset.examples import Turn
from lora_magic.errors import LoraError
from lora_magic.evaluation.answering import Prompts
from lora_magic.evaluation.asked import Asked
from lora_magic.evaluation.columns import BASE, Column, Prompting, columns, prompting
from lora_magic.evaluation.compare import Scene, described
from lora_magic.evaluation.lines import append_line, holds_line
from lora_magic.results import Chat, ChatTurn

Scenes = Callable[[], AbstractContextManager[Scene]]
NO_ANSWER = ""


class Conversation:
    """Says things to several columns and keeps what they answer. It holds no model between turns.

    Args:
        scene: lends what there is for a turn.
        config: who answers, and how; `config` may be changed between turns.

    Attributes:
        chat: what was said so far.
        offered: names that may answer.
        system: the system text to begin with; "" for none.

    Raises:
        LoraError: no model is loaded, or a column is unknown.
    """

    def __init__(self, scene: Scenes, config: ChatConfig) -> None:
        self._scene, self.config = scene, config
        self._contexts: list[dict[str, tuple[Turn, ...]]] = []
        with scene() as found:
            names = self._names(found)
            _chosen(names, found)
            run = found.speaking(names)
            self.config = config.replace(adapters=",".join(names))
            self.offered = tuple(dict.fromkeys([*names, BASE, *found.adapters]))
            self.system = config.system if config.system is not None else (run.system if run else None) or ""
            kept_in = Path(config.keep).expanduser().absolute()
            self.chat = Chat(found.base.facts.model, tuple(names), kept_in, self._facts())

    def say(self, text: str, show: Callable[[], None]) -> ChatTurn:
        """Say something to all, and have each answer it.

        An interrupt ends the turn; what was made of the answer so far stays.

        Args:
            text: what is said.
            show: called whenever an answer has grown, or has ended.

        Raises:
            LoraError: no model is loaded now, a column is gone, the text is too long, or memory runs out.
        """
        text = as_text(text)
        with self._scene() as scene:
            names = self._names(scene)
            chosen = _chosen(names, scene)
            run = scene.speaking(names)
            system = (Turn("system", run.system),) if run is not None and run.system else ()
            before = prompting(chosen, self.config.system, self.config.seed, run, [Asked(text, ())], scene.variables)
            prompts = Prompts(scene.base, run.template if run is not None else None, before)
            turn = ChatTurn(text)
            ids, contexts = {}, {}
            for column in chosen:
                asked, ids[column.name] = self._fitting(scene, prompts, column, system, turn)
                contexts[column.name] = before.context(replace(column, shots=0), asked)
            self.chat.columns, self.chat.facts = tuple(names), self._facts(before)
            self.chat.turns.append(turn)
            self._contexts.append(contexts)
            try:
                self._answer(scene, chosen, ids, turn, show)
            except BaseException:
                if not any(turn.outputs.values()):
                    self.chat.turns.pop()
                    self._contexts.pop()
                raise
        return turn

    def keep(self, number: int, answer: str = NO_ANSWER) -> None:
        """Add a turn, with all that was said before it, to the file of kept rows; a row is there once.

        Args:
            number: the turn's, from 0; negative ones count from the last.
            answer: the column whose answer is the right one, or "" for a row without an answer.

        Raises:
            LoraError: there is no such turn or answer, or the disk refuses.
        """
        if not self.chat.turns:
            raise LoraError("There is no turn to keep yet.", "Say something first.")
        turn, contexts = self.chat.turns[number], self._contexts[number]
        if answer and not turn.outputs.get(answer):
            raise LoraError(f"{answer} has no answer in this turn.", f"Known: {', '.join(turn.outputs)}.")
        turns = [
            *contexts[answer or list(contexts)[-1]],
            *([Turn("assistant", turn.outputs[answer])] if answer else []),
        ]
        row = {"messages": [{"role": one.role, "content": one.content} for one in turns]}
        if not holds_line(self.chat.kept_in, row):
            append_line(self.chat.kept_in, row)
        turn.kept = True

    def _names(self, scene: Scene) -> list[str]:
        return self.config.columns or [BASE, *([scene.default] if scene.default else [])]

    def _answer(
        self,
        scene: Scene,
        chosen: Sequence[Column],
        ids: dict[str, list[int]],
        turn: ChatTurn,
        show: Callable[[], None],
    ) -> None:
        decoding, seed = self._decoding(), row_seed(self.config.seed, len(self.chat.turns) - 1)
        show()
        for column in chosen:

            def heard(_: int, said: str, name: str = column.name) -> None:
                if said:
                    turn.outputs[name] = said
                    show()

            try:
                scene.base.activate(column.key)
                [answer] = scene.base.generate([ids[column.name]], decoding, seeds=[seed], heard=heard)
            except KeyboardInterrupt:
                turn.stopped = True
                return
            turn.outputs[column.name] = answer.text
            if answer.cut:
                turn.cut = (*turn.cut, column.name)
            show()

    def _fitting(
        self, scene: Scene, prompts: Prompts, column: Column, system: tuple[Turn, ...], turn: ChatTurn
    ) -> tuple[Asked, list[int]]:
        """What a column reads; its earliest turns are left out where they no longer fit.

        Raises:
            LoraError: not even the newest turn fits.
        """
        history = [one for one in self.chat.turns if one.outputs.get(column.name)]
        room = scene.base.facts.max_length - self.config.max_new_tokens
        for left_out in range(len(history) + 1):
            said = [
                part
                for one in history[left_out:]
                for part in (Turn("user", one.prompt), Turn("assistant", one.outputs[column.name]))
            ]
            asked = Asked(turn.prompt, (*system, *said, Turn("user", turn.prompt)))
            try:
                ids = prompts.ids(column, asked)
            except LoraError:
                if left_out == len(history):
                    raise
                continue
            if len(ids) <= room or left_out == len(history):
                break
        if left_out:
            what = "turn no longer fits" if left_out == 1 else f"{left_out} turns no longer fit"
            turn.notes = (*turn.notes, f"{column.name} has not read it all: the first {what}")
        return asked, ids

    def _decoding(self) -> Decoding:
        return Decoding(self.config.max_new_tokens, self.config.temperature, self.config.top_p, self.config.seed)

    def _facts(self, before: Prompting | None = None) -> tuple[tuple[str, str], ...]:
        text = before.text if before is not None and before.text is not None else self.system
        return (("system", text or "none"), *described(self._decoding()))


def _chosen(names: Sequence[str], scene: Scene) -> list[Column]:
    """The columns.

    Raises:
        LoraError: one is unknown, or is another model.
    """
    chosen = columns(names, scene.adapters)
    wide = next((column for column in chosen if column.wide), None)
    if wide is not None:
        raise LoraError(f"{wide.name} cannot chat: it would be loaded for every turn.", "%lora_compare can ask it.")
    return chosen
