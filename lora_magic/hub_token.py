"""The user's token for the Hub: read when a gated or private repository refuses without it, and never before.

On Colab it may lie among the notebook's secrets, where reading it can open a dialogue; a public model must not ask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_kept: list[str] = []


def with_token_if_needed(call: Callable[[str | bool], T], refused: tuple[type[Exception], ...] = ()) -> T:
    """Ask the Hub without a token, and once more with it where the Hub refuses and there is one.

    Call it on the main thread: Colab gives a secret to no other.

    Args:
        call: takes what the Hub's functions take as `token`: False for none, or the token.
        refused: what `call` may raise beside the Hub's own errors where it has no access.

    Raises:
        huggingface_hub.errors.HfHubHTTPError: what the Hub said to the last of the two.
    """
    from huggingface_hub import errors

    denied: tuple[type[BaseException], ...] = (errors.GatedRepoError, errors.RepositoryNotFoundError, *refused)
    try:
        return call(False)
    except denied:
        token = _token()
        if token is None:
            raise
    return call(token)


def _token() -> str | None:
    """From the environment, the login's file or Colab's secrets; asked for once where there is one."""
    if not _kept:
        from huggingface_hub import get_token

        found = get_token()
        if found:
            _kept.append(found)
    return _kept[0] if _kept else None
