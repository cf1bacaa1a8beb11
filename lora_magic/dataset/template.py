"""Conversations into text, through the model's own chat template."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from lora_magic.dataset.calls import as_messages, as_tools, has_tools
from lora_magic.dataset.turns import Turn
from lora_magic.dataset.wording import shown
from lora_magic.errors import LoraError

Tokenizer = Any

OWN = "the model's own"
DEFAULT = "lora_magic's plain default"

_DEFAULT_TEMPLATE = """\
{% for message in messages %}{{ '### ' + message['role'].capitalize() + ':\\n' + message['content'] }}\
{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '### Assistant:\\n' }}{% endif %}"""

_PROBE = (Turn("system", "ProbeSystem"), Turn("user", "ProbeUser"), Turn("assistant", "ProbeAnswer"))
_PROBE_TOOL = '[{"name": "ProbeTool", "description": "d", "parameters": {"type": "object", "properties": {}}}]'
_PROBE_CALL = '[{"id": "probe0001", "name": "ProbeTool", "arguments": {"a": "ProbeArgument"}}]'
_PROBE_CALLED = (
    Turn("user", "ProbeUser"),
    Turn("assistant", "", _PROBE_CALL),
    Turn("tool", "ProbeResult"),
    Turn("assistant", "ProbeAnswer"),
)


def chat_template(tokenizer: Tokenizer) -> tuple[str, str]:
    """The chat template that a tokenizer uses; one without a template gets the stated default, set on it.

    The default writes roles as plain text and ends an answer with the tokenizer's own end-of-text token.

    Args:
        tokenizer: a transformers tokenizer.

    Returns:
        The template, and whose it is: `OWN` or `DEFAULT`.

    Raises:
        LoraError: there is no template and no end-of-text token to build the default on, or no one template.
    """
    if not tokenizer.chat_template:
        if not tokenizer.eos_token:
            raise LoraError(
                "The tokenizer has neither a chat template nor an end-of-text token.", "Load another model."
            )
        tokenizer.chat_template = _DEFAULT_TEMPLATE
    try:
        template: str = tokenizer.get_chat_template()
    except ValueError:
        raise LoraError(
            "The tokenizer has several chat templates and none is its default.", "Load another model."
        ) from None
    return template, DEFAULT if template == _DEFAULT_TEMPLATE else OWN


def read_template(path: str | Path, tokenizer: Tokenizer) -> str:
    """Reads a chat template of the user's own and tries it.

    Args:
        path: a text file with a Jinja template.
        tokenizer: a transformers tokenizer, whose special tokens the template may name; it is not changed.

    Raises:
        LoraError: the file cannot be read, is no template, or does not write a user's turn and an answer.
    """
    from jinja2 import TemplateSyntaxError
    from transformers.utils.chat_template_utils import render_jinja_template

    path = Path(path).expanduser()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise LoraError(f'The template "{shown(path)}" cannot be read ({error.strerror}).', "Check its path.") from None
    except ValueError:
        raise LoraError(f'The template "{shown(path)}" is not UTF-8 text.', "Save it as UTF-8.") from None
    turns = _PROBE[1:]
    try:
        render_jinja_template(conversations=[as_messages(turns)], chat_template=text)
    except TemplateSyntaxError as error:
        problem = f"{path.name} line {error.lineno}: {shown(error.message or 'not a template').rstrip('.')}."
        raise LoraError(problem, "Mend the template.") from None
    except Exception:  # noqa: BLE001, S110  it may want special tokens; tried with them below
        pass
    try:
        written = Renderer(tokenizer, template=text).text(turns)
    except LoraError as error:
        raise LoraError(f"{path.name}: {error.problem}", "It has to take a user's turn and an answer.") from None
    if not all(turn.content in written for turn in turns):
        raise LoraError(f"{path.name} does not write what user and assistant say.", "Give a chat template.")
    return text


def render(
    tokenizer: Tokenizer,
    turns: Sequence[Turn],
    *,
    generation_prompt: bool = False,
    template: str | None = None,
    tools: str = "",
) -> str:
    """A conversation as the model reads it, to be tokenised with `add_special_tokens=False`.

    It starts with the beginning-of-text token where the model expects one. Where the template takes no system
    turn, the system text goes at the head of the first user turn.

    Args:
        tokenizer: a transformers tokenizer.
        turns: at least one.
        generation_prompt: end with what opens an answer.
        template: used in place of the tokenizer's own, which stays as it is.
        tools: the JSON text of the tools that may be called.

    Raises:
        LoraError: the template refuses the conversation.
    """
    return Renderer(tokenizer, template=template).text(turns, generation_prompt=generation_prompt, tools=tools)


class Renderer:
    """Renders many conversations for one tokenizer, asking its template what it takes only once.

    Args:
        tokenizer: a transformers tokenizer; see `chat_template`.
        template: used in place of the tokenizer's own, which stays as it is.
    """

    def __init__(self, tokenizer: Tokenizer, *, template: str | None = None) -> None:
        if template is None:
            chat_template(tokenizer)
        self.tokenizer, self.template = tokenizer, template

    @cached_property
    def takes_system(self) -> bool:
        """Whether the template writes a system turn, rather than refusing or dropping it."""
        return self._writes(_PROBE, "", *(turn.content for turn in _PROBE))

    @cached_property
    def takes_tools(self) -> bool:
        """Whether the template writes the definitions of tools."""
        return self._writes(_PROBE[1:], _PROBE_TOOL, "ProbeTool", "ProbeUser", "ProbeAnswer")

    @cached_property
    def takes_calls(self) -> bool:
        """Whether the template writes an assistant's tool calls and a tool's answers."""
        wanted = ("ProbeTool", "ProbeArgument", "ProbeResult", "ProbeAnswer")
        tools = _PROBE_TOOL if self.takes_tools else ""
        return self._writes(_PROBE_CALLED, tools, *wanted)

    @cached_property
    def bos(self) -> str:
        """The beginning-of-text token, where the tokenizer puts one before a text; otherwise ""."""
        ids = self.tokenizer("a")["input_ids"]
        return self.tokenizer.bos_token if ids and ids[0] == self.tokenizer.bos_token_id else ""

    @cached_property
    def special(self) -> re.Pattern[str]:
        """Finds the special tokens that act when they stand in a text, such as an end of turn."""
        added = self.tokenizer.added_tokens_decoder.values()
        names = {token.content for token in added if token.special} | set(self.tokenizer.all_special_tokens)
        return any_of(names)

    def fitted(self, turns: Sequence[Turn]) -> tuple[Turn, ...]:
        """The turns as the template takes them: a system turn it does not take joins the first user turn."""
        if not turns or turns[0].role != "system" or self.takes_system:
            return tuple(turns)
        system, *rest = turns
        if rest and rest[0].role == "user":
            joined = f"{system.content}\n\n{rest[0].content}" if system.content else rest[0].content
            return (Turn("user", joined), *rest[1:])
        return (Turn("user", system.content), *rest)

    def text(self, turns: Sequence[Turn], *, generation_prompt: bool = False, tools: str = "") -> str:
        """One conversation; see `render`."""
        return self._apply([self.fitted(turns)], generation_prompt, tools)[0]

    def texts(self, conversations: Sequence[tuple[Sequence[Turn], str]]) -> list[str | LoraError]:
        """Many fitted conversations, each with its tools; one that is refused yields the error instead of a text."""
        plain = [turns for turns, tools in conversations if not has_tools(turns, tools)]
        try:
            done = iter(self._apply(plain, False) if plain else ())
        except LoraError:
            return [self._text_or_error(turns, tools) for turns, tools in conversations]
        return [
            self._text_or_error(turns, tools) if has_tools(turns, tools) else next(done)
            for turns, tools in conversations
        ]

    def _text_or_error(self, turns: Sequence[Turn], tools: str) -> str | LoraError:
        if tools and not self.takes_tools:
            return LoraError("The chat template does not write tools.", "Load a model that can call tools.")
        if has_tools(turns) and not self.takes_calls:
            return LoraError("The chat template does not write tool calls.", "Load a model that can call tools.")
        try:
            return self._apply([turns], False, tools)[0]
        except LoraError as error:
            return error

    def _writes(self, turns: Sequence[Turn], tools: str, *wanted: str) -> bool:
        try:
            text = self._apply([turns], False, tools)[0]
        except LoraError:
            return False
        return all(part in text for part in wanted)

    def _apply(self, conversations: Sequence[Sequence[Turn]], generation_prompt: bool, tools: str = "") -> list[str]:
        from jinja2 import TemplateError

        messages, definitions = [as_messages(turns) for turns in conversations], as_tools(tools)
        try:
            texts = self.tokenizer.apply_chat_template(
                messages,
                tools=definitions,
                chat_template=self.template,
                tokenize=False,
                add_generation_prompt=generation_prompt,
            )
        except (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
            reason = shown(str(error).strip().partition("\n")[0]).rstrip(".")
            raise LoraError(
                f"The chat template refuses a conversation ({reason}).", "Check the order of its turns."
            ) from None
        return [text if text.startswith(self.bos) else self.bos + text for text in texts]


def any_of(names: set[str]) -> re.Pattern[str]:
    """A pattern that finds any of some literal texts, the longest first; it never matches where there are none."""
    longest_first = sorted((re.escape(name) for name in names if name), key=len, reverse=True)
    return re.compile("|".join(longest_first) or r"(?!)")
