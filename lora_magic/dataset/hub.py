"""Data sets of the Hugging Face Hub: `owner/name[:config][:split]`."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lora_magic.dataset.wording import shown
from lora_magic.errors import LoraError, nearest
from lora_magic.hub_token import with_token_if_needed

_PART = r"[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9_])?"
_ID = re.compile(
    rf"(?:hf://datasets/|https://huggingface\.co/datasets/)?(?P<name>{_PART}/{_PART})/?"
    r"(?::(?P<first>[\w.-]*(?:\[[\d:%-]*\])?))?(?::(?P<second>[\w.-]+(?:\[[\d:%-]*\])?))?",
    re.ASCII,
)
_WHERE = "Check the spelling at https://huggingface.co/datasets; set HF_TOKEN if it is private."


@dataclass(frozen=True)
class HubId:
    """What an id names.

    Attributes:
        name: owner/name.
        parts: what follows, in order: nothing; a configuration or a split; a configuration ("" for the only one) and
            a split.
    """

    name: str
    parts: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ":".join((self.name, *self.parts))


def hub_id(text: str) -> HubId | None:
    """The id that a text is, or None: `owner/name`, perhaps with `:config` and `:split`, or a data set's address."""
    found = _ID.fullmatch(text)
    if found is None or ".." in found["name"] or "--" in found["name"]:
        return None
    if found["second"]:
        return HubId(found["name"], (found["first"], found["second"]))
    return HubId(found["name"], (found["first"],) if found["first"] else ())


def load(wanted: HubId) -> Any:
    """Downloads a data set, or takes it from the cache.

    Only data files are read: `datasets` 4 runs no scripts, and nothing here asks for remote code.

    Returns:
        A `Dataset` where a split was named, else a `DatasetDict`.

    Raises:
        LoraError: there is none, it is gated, the Hub cannot be reached, or the configuration or split is not there.
    """
    import datasets

    with _told(wanted), _quiet():
        if len(wanted.parts) == 2:
            config, split = wanted.parts
        else:
            config, split = _config_or_split(wanted, datasets)
        made = _loaded(datasets, wanted.name, config or None)
        if not split:
            return made
        name = split.partition("[")[0]
        if name not in made:
            problem = f'{wanted.name} has no split "{shown(split)}" (it has {", ".join(map(shown, made))}).'
            raise LoraError(problem, nearest(name, list(made)) or f"Write {wanted.name}:CONFIG:SPLIT.")
        return made[split] if name == split else _loaded(datasets, wanted.name, config or None, split=split)


def _loaded(datasets: Any, *args: Any, **options: Any) -> Any:
    return with_token_if_needed(
        lambda token: datasets.load_dataset(*args, token=token, **options),
        refused=(datasets.exceptions.DatasetNotFoundError,),
    )


def _config_or_split(wanted: HubId, datasets: Any) -> tuple[str, str]:
    """One part alone is a configuration where there is one of that name, else a split."""
    if not wanted.parts:
        return "", ""
    part = wanted.parts[0]
    names = with_token_if_needed(
        lambda token: datasets.get_dataset_config_names(wanted.name, token=token),
        refused=(datasets.exceptions.DatasetNotFoundError,),
    )
    if "[" not in part and part in names:
        return part, ""
    return "", part


@contextmanager
def _told(wanted: HubId) -> Iterator[None]:
    """Whatever goes wrong on the way, in one line."""
    import httpx
    from datasets import exceptions
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    name = wanted.name
    try:
        yield
    except exceptions.DatasetNotFoundError as error:
        if "gated" in str(error):
            raise LoraError(f"{name} is gated.", "Accept its terms on its page and set HF_TOKEN.") from None
        raise LoraError(f"There is no data set {name} on the Hub, or it is private.", _WHERE) from None
    except (OfflineModeIsEnabled, ConnectionError, TimeoutError, httpx.TransportError) as error:
        if "offline" in f"{error} {type(error).__name__}".lower():
            raise LoraError(f"{name} is not a file here, and the Hub is off (HF_HUB_OFFLINE).", "Unset it.") from None
        problem = f"{name} is not a file here, and the Hub cannot be reached."
        raise LoraError(problem, "Check the network and the spelling, or give a file.") from None
    except exceptions.DataFilesNotFoundError:
        raise LoraError(f"{name} has no data files that can be read.", "Download a file of it and give that.") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no"
        raise LoraError(f"The Hub answered {status} for {name}.", "Try again later, or set HF_TOKEN.") from None
    except (exceptions.DatasetsError, OSError, ValueError, RuntimeError, TypeError) as error:
        raise LoraError(f"{name} cannot be loaded ({_reason(error)}).", _remedy(error, name)) from None


def _reason(error: Exception) -> str:
    return shown(str(error).strip().partition("\n")[0].rstrip(".:"))


def _remedy(error: Exception, name: str) -> str:
    text = str(error)
    configs = re.findall(r"'([\w.-]+)'", text.partition("vailable")[2]) or re.findall(r"'([\w.-]+)'", text)
    if "onfig" in text and configs:
        return f"Name a configuration, such as {name}:{configs[0]}."
    if "script" in text:
        return "It needs code of its own, which is never run: download its data files and give those."
    return "Download a file of it and give that."


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars, warnings or log lines of the libraries in the notebook."""
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled as hub_disabled
    from huggingface_hub.utils.tqdm import disable_progress_bars as hub_disable
    from huggingface_hub.utils.tqdm import enable_progress_bars as hub_enable

    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    bars, hub_bars = not are_progress_bars_disabled(), not hub_disabled()
    disable_progress_bars()
    hub_disable()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if bars:
            enable_progress_bars()
        if hub_bars:
            hub_enable()
