"""Numbers in text files, read in linear time and memory: no Python object for each number."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator

import numpy as np

from imhead.errors import InputError
from imhead.types import FloatArray, IntArray

_SHOWN_CHARACTERS = 60
_PIECE_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"
# NaN and infinity as Microsoft's runtime wrote them before 2015: 1.#QNAN, -1.#IND, 1.#INF00
_OLD_NAN = re.compile(rb"[-+]?\d\.#(?:[QS]NAN|IND|INF|SNAN)\w*", re.IGNORECASE)
_NUMBER = rb"[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?|nan(?:\(\w*\))?|inf(?:inity)?)"
_NO_NUMBER = re.compile(rb"(?<![^\s])(?!" + _NUMBER + rb"(?!\S))\S+", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(rb"(?<![\w,.])[-+]?\d+,\d+(?![\w,.])")


def unix_text(data: bytes) -> bytes:
    """The text without a byte order mark, its lines ended by LF alone, and NaN spelled so that it can be parsed."""
    text = data[3:] if data.startswith(_BOM) else data
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b".#" in text:
        text = _OLD_NAN.sub(b"nan", text)
    return text


def pieces(text: bytes) -> Iterator[tuple[int, bytes]]:
    """Cut a text at line ends into pieces of about 1 MB; yields the offset of each, and its bytes."""
    start = 0
    while start < len(text):
        end = text.find(b"\n", min(start + _PIECE_BYTES, len(text)))
        end = len(text) if end < 0 else end + 1
        yield start, text[start:end]
        start = end


def numbers(text: bytes) -> FloatArray:
    """(N,) the numbers of a text that holds nothing else; NaN and infinity count as numbers.

    Raises:
        ValueError: a word is no number.
    """
    if text.isspace():
        return np.zeros(0)  # numpy finds a number there
    with warnings.catch_warnings():
        # before 2.3, numpy warned where it now raises
        warnings.simplefilter("error", DeprecationWarning)
        try:
            return np.fromstring(text, dtype=np.float64, sep=" ")
        except DeprecationWarning as error:
            raise ValueError(str(error)) from None


def leading_numbers(text: bytes) -> tuple[FloatArray, bytes | None]:
    """The numbers at the start of a text, and the first word that is none; None where all are numbers."""
    try:
        return numbers(text), None
    except ValueError:
        wrong = _NO_NUMBER.search(text)
        if wrong is None:  # two numbers run together, or a byte that separates nothing
            return np.zeros(0), text[:_SHOWN_CHARACTERS]
        return numbers(text[: wrong.start()]), wrong.group()


def word_counts(text: bytes) -> IntArray:
    """(L,) words on each line, empty lines included."""
    letters = np.frombuffer(text, dtype=np.uint8)
    begins = letters > 32
    begins[1:] &= letters[:-1] <= 32
    words = np.flatnonzero(begins)
    ends = np.flatnonzero(letters == 10)
    if not text.endswith(b"\n"):
        ends = np.append(ends, len(letters))
    return np.diff(np.searchsorted(words, ends), prepend=0)


def first_columns(values: FloatArray, counts: IntArray, columns: int) -> FloatArray:
    """(R, columns) the first numbers of each row of a ragged table.

    Args:
        values: (sum of counts,) numbers, row after row.
        counts: (R,) numbers in each row, each at least `columns`.
    """
    if len(counts) and (counts == counts[0]).all():
        return values.reshape(len(counts), -1)[:, :columns].copy()
    start = np.cumsum(counts) - counts
    table: FloatArray = values[start[:, None] + np.arange(columns)]
    return table


def bad_row(label: str, number: int, row: bytes) -> InputError:
    """The error for a line of a text file that cannot be read; lines count from 1."""
    shown = ascii(row.decode("latin-1").strip()[:_SHOWN_CHARACTERS])
    if has_decimal_comma(row):
        return decimal_comma(label, f"line {number} ({shown})")
    return InputError(f"{label}: line {number} makes no sense: {shown}; the file is damaged, export it again")


def bad_word(label: str, word: bytes) -> InputError:
    """The error for a word that stands where a number belongs."""
    shown = ascii(word.decode("latin-1")[:_SHOWN_CHARACTERS])
    if has_decimal_comma(word):
        return decimal_comma(label, shown)
    return InputError(f"{label}: holds text where numbers belong ({shown}); export the scan again")


def has_decimal_comma(row: bytes) -> bool:
    """Whether a number in the row is written with a comma, as in 12,5."""
    return _DECIMAL_COMMA.search(row) is not None


def decimal_comma(label: str, where: str) -> InputError:
    """The error for numbers with a comma in place of the point."""
    return InputError(
        f"{label}: its numbers have a decimal comma, see {where}; "
        "export it again with decimal points (set the program's language or number format to English)"
    )
