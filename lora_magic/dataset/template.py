"""Conversations into text, through the model's own chat template."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

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


def render(tokenizer: Tokenizer, turns: Sequence[Turn], *, generation_prompt: bool = False) -> str:
    """A conversation as the model reads it, to be tokenised with `add_special_tokens=False`.

    It starts with the beginning-of-text token where the model expects one. Where the template takes no system
    turn, the system text goes at the head of the first user turn.

    Args:
        tokenizer: a transformers tokenizer.
        turns: at least one.
        generation_prompt: end with what opens an answer.

    Raises:
        LoraError: the template refuses the conversation.
    """
    return Renderer(tokenizer).text(turns, generation_prompt=generation_prompt)


class Renderer:
    """Renders many conversations for one tokenizer, asking its template what it takes only once.

    Args:
        tokenizer: a transformers tokenizer; see `chat_template`.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        chat_template(tokenizer)
        self.tokenizer = tokenizer

    @cached_property
    def takes_system(self) -> bool:
        """Whether the template writes a system turn, rather than refusing or dropping it."""
        try:
            return all(turn.content in self._apply([_PROBE], False)[0] for turn in _PROBE)
        except LoraError:
            return False

    @cached_property
    def bos(self) -> str:
        """The beginning-of-text token, where the tokenizer puts one before a text; otherwise ""."""
        ids = self.tokenizer("a")["input_ids"]
        return self.tokenizer.bos_token if ids and ids[0] == self.tokenizer.bos_token_id else ""

    def fitted(self, turns: Sequence[Turn]) -> tuple[Turn, ...]:
        """The turns as the template takes them: a system turn it does not take joins the first user turn."""
        if not turns or turns[0].role != "system" or self.takes_system:
            return tuple(turns)
        system, *rest = turns
        if rest and rest[0].role == "user":
            return (Turn("user", f"{system.content}\n\n{rest[0].content}"), *rest[1:])
        return (Turn("user", system.content), *rest)

    def text(self, turns: Sequence[Turn], *, generation_prompt: bool = False) -> str:
        """One conversation; see `render`."""
        return self._apply([self.fitted(turns)], generation_prompt)[0]

    def texts(self, conversations: Sequence[Sequence[Turn]]) -> list[str | LoraError]:
        """Many fitted conversations; one that the template refuses yields the error instead of a text."""
        try:
            return list(self._apply(conversations, False))
        except LoraError:
            return [self._text_or_error(turns) for turns in conversations]

    def _text_or_error(self, turns: Sequence[Turn]) -> str | LoraError:
        try:
            return self._apply([turns], False)[0]
        except LoraError as error:
            return error

    def _apply(self, conversations: Sequence[Sequence[Turn]], generation_prompt: bool) -> list[str]:
        from jinja2 import TemplateError

        messages = [[{"role": turn.role, "content": turn.content} for turn in turns] for turns in conversations]
        try:
            texts = self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=generation_prompt
            )
        except (TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:
            reason = shown(str(error).strip().partition("\n")[0]).rstrip(".")
            raise LoraError(
                f"The chat template refuses a conversation ({reason}).", "Check the order of its turns."
            ) from None
        return [text if text.startswith(self.bos) else self.bos + text for text in texts]
