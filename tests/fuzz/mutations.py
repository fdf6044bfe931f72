"""Changes of a file: of its bytes, numbers, lines and repetitions, and of what lies inside JSON and archives."""

from __future__ import annotations

import io
import json
import random
import re
import struct
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

LONGEST = 1 << 20
"""Bytes of a changed file, at most."""

_NUMBER = re.compile(rb"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_WORDS = (
    b"-1", b"0", b"1", b"2", b"3", b"255", b"256", b"65536", b"2147483647", b"2147483648", b"4294967295",
    b"9007199254740993", b"9223372036854775808", b"99999999999999999999", b"1e308", b"-1e308", b"1e999", b"1e-320",
    b"nan", b"-nan(ind)", b"inf", b"-inf", b"1.#QNAN", b"1,5", b"0x10", b"1e", b"--5", b"", b"x", b"1_0", b"\xd9\xa3",
    b"1d5", b"+1", b".5", b"5.", b"0" * 400 + b"1", b"1" * 400,
)  # fmt: skip
_WHOLE = (0, 1, 2, 3, 127, 128, 255, 256, 32767, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**64 - 1)
_REAL = (float("nan"), float("inf"), -float("inf"), 1e308, -1e30, 1e-320, 0.0, -0.0, 1e9, 1e20)
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, 10**30, 1e308, float("nan"), float("inf"), 0.5, "", "a", "-1",
    "\x1b[31m", "\ud800", "../a", [], {}, [[]], [0], [None] * 5, {"a": {}}, [1e308] * 16, "x" * 3000,
)  # fmt: skip
_PIECES = (
    b"\0",
    b"\n",
    b"\r",
    b" ",
    b"{",
    b"}",
    b"[",
    b"]",
    b"<",
    b">",
    b'"',
    b"#",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"/*",
    b"-->",
)

Change = Callable[[bytes, random.Random], bytes]


def changed(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """The file after one to four changes.

    Args:
        data: the file.
        others: files whose parts may be put in.
        rng: the choice of changes, and what they do.
    """
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        if rng.random() < 0.08:
            data = _spliced(data, rng.choice(others), rng)
            continue
        inside = _inside(data)
        choices = inside if inside and rng.random() < 0.7 else _ON_BYTES
        data = rng.choice(choices)(data, rng)[:LONGEST]
    return data


def _inside(data: bytes) -> Sequence[Change]:
    if data[:2] == b"PK":
        return [_of_archive]
    if data[:4] == b"glTF":
        return [_of_glb]
    if data[8:9] == b"{":
        return [_of_tensors]
    if data[:1] == b"{":
        return [_of_json]
    return []


# ---- bytes and text ------------------------------------------------------------------------------------------------


def _span(data: bytes, rng: random.Random, most: int = 1 << 30) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + min(most, int(2 ** rng.uniform(0, 14))))


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _without(data: bytes, rng: random.Random) -> bytes:
    start, end = _span(data, rng)
    return data[:start] + data[end:]


def _doubled(data: bytes, rng: random.Random) -> bytes:
    start, end = _span(data, rng)
    return data[:end] + data[start:]


def _repeated(data: bytes, rng: random.Random) -> bytes:
    start, end = _span(data, rng, 200)
    times = min(int(2 ** rng.uniform(1, 14)), LONGEST // max(1, end - start))
    return data[:start] + data[start:end] * times + data[end:]


def _flipped(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 2, 8, 64))):
        if out:
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def _number_in_binary(data: bytes, rng: random.Random) -> bytes:
    kind = rng.choice("bBhHiIqQfd")
    value = rng.choice(_REAL) if kind in "fd" else rng.choice(_WHOLE)
    order = rng.choice("<<<>")
    if kind not in "fd":
        bits = 8 * struct.calcsize(kind)
        value = int(value) % 2**bits
        value -= 2**bits if kind.islower() and value >= 2 ** (bits - 1) else 0
    try:
        word = struct.pack(order + kind, value)
    except OverflowError:
        word = struct.pack(order + "f", float("inf"))
    # the counts stand near the beginning
    at = rng.randrange(min(len(data), 200) + 1) if rng.random() < 0.5 else rng.randrange(len(data) + 1)
    return data[:at] + word + data[at + len(word) :]


def _number_in_text(data: bytes, rng: random.Random) -> bytes:
    found = list(_NUMBER.finditer(data, *_window(data, rng)))
    if not found:
        return _flipped(data, rng)
    place = rng.choice(found)
    word = rng.choice(_WORDS)
    if rng.random() < 0.3:
        word = b"%.0f" % (float(place.group()[:15].split(b"e")[0].split(b"E")[0]) + rng.choice((-1, 1)))
    return data[: place.start()] + word + data[place.end() :]


def _window(data: bytes, rng: random.Random) -> tuple[int, int]:
    start = 0 if rng.random() < 0.5 else rng.randrange(len(data) + 1)
    return start, start + 3000


def _piece(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(_PIECES) * rng.choice((1, 1, 2, 300)) + data[at:]


def _lines(data: bytes, rng: random.Random) -> bytes:
    lines = data.split(b"\n", 400)
    k = rng.randrange(len(lines))
    how = rng.randrange(5)
    if how == 0:
        del lines[k]
    elif how == 1:
        lines.insert(k, lines[k])
    elif how == 2:
        other = rng.randrange(len(lines))
        lines[k], lines[other] = lines[other], lines[k]
    elif how == 3:
        lines[k] = lines[k] + rng.choice((b" 1", b" #", b"\r", b"\t", b" 0 0 0 0 0 0"))
    else:
        lines[k] = b" ".join(reversed(lines[k].split(b" ")))
    return b"\n".join(lines)


def _word(data: bytes, rng: random.Random) -> bytes:
    """One word in place of another of the same file."""
    words = list(re.finditer(rb"[\w.-]+", data[slice(*_window(data, rng))]))
    if len(words) < 2:
        return _piece(data, rng)
    return data.replace(rng.choice(words).group(), rng.choice(words).group(), rng.choice((1, 1, 2, -1)))


def _spliced(data: bytes, other: bytes, rng: random.Random) -> bytes:
    start, end = _span(other, rng)
    at, upto = _span(data, rng)
    return data[:at] + other[start:end] + data[rng.choice((at, upto)) :]


_ON_BYTES: tuple[Change, ...] = (
    _cut, _without, _doubled, _repeated, _flipped, _number_in_binary, _number_in_binary, _number_in_text,
    _number_in_text, _number_in_text, _piece, _lines, _word, _word,
)  # fmt: skip


# ---- JSON, and what holds it ---------------------------------------------------------------------------------------


def _of_json(data: bytes, rng: random.Random) -> bytes:
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return rng.choice(_ON_BYTES)(data, rng)
    return _written(_tree(tree, rng))


def _written(tree: Any) -> bytes:
    return json.dumps(tree, separators=(",", ":")).encode()


def _tree(tree: Any, rng: random.Random) -> Any:
    """A tree with one entry put in, taken out, repeated, or given another value."""
    places: list[tuple[Any, Any]] = []
    pending = [tree]
    while pending and len(places) < 5000:
        node = pending.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        places += [(node, key) for key in keys]
        pending += [node[key] for key in keys]
    if not places:
        return rng.choice(_VALUES)
    node, key = rng.choice(places)
    how = rng.randrange(7)
    if how == 0:
        del node[key]
    elif how == 1:
        other, there = rng.choice(places)
        node[key] = json.loads(json.dumps(other.get(there) if isinstance(other, dict) else other[there : there + 1]))
    elif how == 2 and isinstance(node, list):
        node[key:key] = [node[key]] * rng.choice((1, 2, 50, 3000))
    elif how == 3 and isinstance(node[key], int):
        node[key] += rng.choice((-1, 1, 4, 256))
    elif how == 4 and isinstance(node[key], str):
        try:  # JSON in a text of JSON, as in metadata
            node[key] = _written(_tree(json.loads(node[key]), rng)).decode()
        except (ValueError, RecursionError):
            node[key] = node[key][::-1]
    else:
        node[key] = rng.choice(_VALUES)
    return tree


def _of_glb(data: bytes, rng: random.Random) -> bytes:
    length = int.from_bytes(data[12:16], "little")
    text, rest = data[20 : 20 + length], data[20 + length :]
    if rng.random() < 0.25 and len(rest) > 8:
        rest = rest[:8] + rng.choice(_ON_BYTES)(rest[8:], rng)
    else:
        text = _of_json(text, rng)
        text += b" " * (-len(text) % 4)
    return struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text) + len(rest), len(text), b"JSON") + text + rest


def _of_tensors(data: bytes, rng: random.Random) -> bytes:
    """A safetensors file that another reader would still open, half of the time: its metadata are changed alone."""
    length = int.from_bytes(data[:8], "little")
    text, rest = data[8 : 8 + length], data[8 + length :]
    how = rng.random()
    if how < 0.2:
        return data[: 8 + length] + rng.choice((_flipped, _number_in_binary, _cut))(rest, rng)
    text = _of_metadata(text, rng) if how < 0.7 else _of_json(text, rng)
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + rest


def _of_metadata(text: bytes, rng: random.Random) -> bytes:
    try:
        tree = json.loads(text)
        metadata = tree["__metadata__"]
        key = rng.choice(sorted(metadata))
        value = metadata.pop(key)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return _of_json(text, rng)
    if rng.random() < 0.85:
        metadata[key] = _text(str(value), rng)
    return _written(tree)


def _text(text: str, rng: random.Random) -> str:
    """Another text: JSON in it, if there is some, stays JSON."""
    try:
        return _written(_tree(json.loads(text), rng)).decode()
    except (ValueError, RecursionError):
        at = rng.randrange(len(text) + 1)
        return rng.choice(
            (text[::-1], text[:at], text * 50, text[:at] + "\x1b[2J" + text[at:], "[" * 2000, "", "1e999")
        )


def _of_archive(data: bytes, rng: random.Random) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
    except Exception:  # damaged by an earlier change
        return _flipped(data, rng)
    if not entries:
        return _flipped(data, rng)
    name = rng.choice(sorted(entries))
    how = rng.randrange(6)
    if how == 0:
        del entries[name]
    elif how == 1:
        entries[rng.choice(("a.ply", "../a.ply", "b.obj", "x/" * 50 + "a.ply", "3D/b.model"))] = entries[name]
    else:
        entries[name] = changed(entries[name], [data], rng)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content)
    return out.getvalue()
