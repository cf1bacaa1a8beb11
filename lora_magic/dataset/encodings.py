"""How the bytes of a text file become text: a byte order mark, UTF-8, or an older encoding that is recognised."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from lora_magic.dataset.wording import shown
from lora_magic.errors import LoraError

BLOCK = 1 << 20
SAMPLE = 1 << 16

# UTF-32's mark begins with UTF-16's, so it is asked for first.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ONE_BYTE = ("cp1252", "cp1250", "cp1251", "koi8_r", "cp1253", "cp1254", "cp1255", "cp1256")
_MANY_BYTES = ("cp932", "euc_jp", "gb18030", "big5", "cp949")
_STRAY = re.compile("[\udc80-\udcff]")
_BEYOND_ASCII = re.compile("[^\0-\x7f\udc80-\udcff]")
_WORD = re.compile(r"\S*[^\0-\x7f]\S*")
_CONTROL = re.compile("[\x80-\x9f]")


@dataclass(frozen=True)
class Encoding:
    """How to decode a file, after one look at all of it.

    Attributes:
        codec: Python's name; the ones that drop a byte order mark.
        size: bytes in the file, unzipped.
        sound: whether every byte decodes. Where not, stray bytes are to become surrogates, which `stray` finds.
        note: what was decided, for the user; "" for Unicode.
    """

    codec: str
    size: int
    sound: bool = True
    note: str = ""


def look(opened: Callable[[], BinaryIO], name: str) -> Encoding:
    """Goes through a file once, block by block.

    A file that is not UTF-8 is taken for an older encoding when its bytes break UTF-8 far more often than they
    keep it; otherwise it is UTF-8 with stray bytes.

    Args:
        opened: opens the file's bytes, unzipped, anew.
        name: what messages call it.

    Raises:
        LoraError: a NUL character, UTF-16 or UTF-32 that breaks off, or bytes that no encoding fits.
    """
    with opened() as file:
        head = file.read(4)
    codec = next((codec for mark, codec in _MARKS if head.startswith(mark)), "utf-8-sig")
    size, broken_at = _decoded(opened, name, codec)
    if broken_at is None:
        return Encoding(codec, size)
    if codec != "utf-8-sig":
        problem = f"{name} line {broken_at}: not {codec.upper()}, as its first bytes promise."
        raise LoraError(problem, "The file may be cut short. Fetch it again, or save it as UTF-8.")
    return _older(opened, name, size)


def stray(text: str) -> str:
    """The first stray byte in text decoded with surrogates for them, such as "0xe9"; "" for none."""
    found = None if text.isascii() else _STRAY.search(text)
    return f"0x{ord(found[0]) - 0xDC00:02x}" if found else ""


def _decoded(opened: Callable[[], BinaryIO], name: str, codec: str) -> tuple[int, int | None]:
    """The file's size in bytes, and the number of the first line that does not decode or None."""
    decoder = codecs.getincrementaldecoder(codec)()
    size, line, broken_at = 0, 1, None
    with opened() as file:
        for block in _blocks(file):
            size += len(block)
            text = ""
            try:
                text = "" if broken_at else decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                before = codecs.decode(error.object[: error.start], error.encoding, "ignore")
                broken_at = line + before.count("\n")
            # The bytes of broken UTF-8 are looked through for NUL all the same; those of other codecs mean nothing.
            seen = block if codec == "utf-8-sig" else text.encode("utf-8", "replace")
            _refuse_nul(seen, name, line)
            line += seen.count(b"\n")
    return size, broken_at


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    """Blocks of the file, then an empty one."""
    while block := file.read(BLOCK):
        yield block
    yield b""


def _refuse_nul(block: bytes, name: str, line: int) -> None:
    at = block.find(0)
    if at >= 0:
        problem = f"{name} line {line + block.count(10, 0, at)}: a NUL character, which no text has."
        raise LoraError(
            problem, "The file is damaged, not text, or UTF-16 without a byte order mark: save it as UTF-8."
        )


def _older(opened: Callable[[], BinaryIO], name: str, size: int) -> Encoding:
    kept, broken, sample = _weigh(opened)
    codec = _guess(sample)
    most = broken if codec in _MANY_BYTES else broken / 8
    if not codec or kept > most:
        return Encoding("utf-8-sig", size, sound=False)
    wrong = _decoded(opened, name, codec)[1]
    if wrong is not None:
        problem = f"{name} line {wrong}: neither UTF-8 nor {codec}, which the rest of it seems to be."
        raise LoraError(problem, "Save the file as UTF-8.")
    word = _WORD.search(sample.decode(codec, "ignore"))
    seen = f' ("{shown(word[0])}")' if word else ""
    return Encoding(codec, size, note=f"not UTF-8, read as {codec}{seen}: save the file as UTF-8 if that looks wrong")


def _weigh(opened: Callable[[], BinaryIO]) -> tuple[int, int, bytes]:
    """Characters beyond ASCII that are UTF-8, bytes that are not, and the first lines that have such bytes."""
    kept = broken = 0
    sample = bytearray()
    with opened() as file:
        for line in iter(lambda: file.readline(BLOCK), b""):
            if line.isascii():
                continue
            text = line.decode("utf-8", "surrogateescape")
            bad = len(_STRAY.findall(text))
            kept, broken = kept + len(_BEYOND_ASCII.findall(text)), broken + bad
            if bad and len(sample) < SAMPLE:
                sample += line[: SAMPLE - len(sample)]
    return kept, broken, bytes(sample)


def _guess(sample: bytes) -> str:
    """The older encoding that `sample` is most likely in, "" for none.

    Short Western texts fit many code pages equally well; cp1252 is by far the most common and wins where it fits.
    """
    from charset_normalizer import from_bytes

    found = from_bytes(sample, cp_isolation=[*_ONE_BYTE, *_MANY_BYTES])
    best = found.best()
    if best is None:
        return ""
    western = next((match for match in found if "cp1252" in (match.encoding, *match.could_be_from_charset)), None)
    fits = western and western.chaos <= best.chaos + 0.1 and western.coherence >= best.coherence - 0.15
    codec = "cp1252" if fits else best.encoding
    codec = {"shift_jis": "cp932", "euc_kr": "cp949", "gb2312": "gb18030", "gbk": "gb18030"}.get(codec, codec)
    return codec if _is_plausible(sample.decode(codec, "ignore")) else ""


def _is_plausible(text: str) -> bool:
    """Whether what is beyond ASCII is mostly letters, marks and punctuation, without control characters."""
    beyond = _BEYOND_ASCII.findall(text)
    usual = sum(char < "\u0100" or unicodedata.category(char)[0] in "LMP" for char in beyond)
    return usual >= 0.75 * len(beyond) and not _CONTROL.search(text)
