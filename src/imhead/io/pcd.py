"""PCD, the point clouds of depth cameras and robots: ascii, binary, or compressed by LZF."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from imhead.errors import InputError
from imhead.io.raw_geometry import RawGeometry, checked_geometry
from imhead.io.text_numbers import bad_word, leading_numbers, unix_text

_DATA = re.compile(rb"^DATA[ \t]+(\w+)[ \t]*(?:\r\n|\r|\n|$)", re.M | re.I)
_HEADER_LIMIT = 1 << 16
_LARGEST_EXPANSION = 30
_FREE_BYTES = 1 << 20
_PLACE, _NORMAL = ("x", "y", "z"), ("normal_x", "normal_y", "normal_z")
_KINDS = {("f", 4): "<f4", ("f", 8): "<f8"} | {(k, n): f"<{k}{n}" for k in "iu" for n in (1, 2, 4, 8)}


def read_pcd(data: bytes, label: str) -> RawGeometry:
    """Points and normals of a PCD; points without depth are left out, other fields are ignored.

    Raises:
        InputError: not a PCD, truncated, no x, y and z, or counts larger than the file; one line.
    """
    found = _DATA.search(data, 0, _HEADER_LIMIT)
    if found is None or not re.search(rb"^FIELDS\b", data[: found.end()], re.M | re.I):
        raise InputError(f"{label}: is not a PCD file (it has no FIELDS and DATA); is it another format, renamed?")
    lines = [line.split() for line in unix_text(data[: found.start()]).split(b"\n")]
    words = {line[0].upper(): line[1:] for line in lines if line}
    try:
        names = [name.decode("latin-1").lower() for name in words[b"FIELDS"]]
        sizes, kinds = [int(w) for w in words[b"SIZE"]], [w.decode("latin-1").lower() for w in words[b"TYPE"]]
        repeats = [int(w) for w in words.get(b"COUNT", [b"1"] * len(names))]
        count = int(words[b"POINTS"][0]) if b"POINTS" in words else int(words[b"WIDTH"][0]) * int(words[b"HEIGHT"][0])
        fields = list(zip(names, [_KINDS[kind, size] for kind, size in zip(kinds, sizes)], repeats))
        if not len(names) == len(sizes) == len(kinds) == len(repeats) or count < 0 or min(repeats, default=0) < 0:
            raise ValueError
    except (LookupError, ValueError):
        raise InputError(f"{label}: its PCD header makes no sense; export it again") from None
    if len(set(names) & set(_PLACE)) < 3:
        raise InputError(f"{label}: its PCD header has no fields x, y and z; export it again")
    columns = _columns(data[found.end() :], found.group(1).lower(), fields, count, label)
    normals = None
    if set(names) >= set(_NORMAL):
        normals = np.stack([columns[k] for k in _NORMAL], axis=1)
    return checked_geometry(np.stack([columns[k] for k in _PLACE], axis=1), label, normals=normals)


def _columns(
    body: bytes, encoding: bytes, fields: list[tuple[str, str, int]], count: int, label: str
) -> dict[str, NDArray[np.generic]]:
    """The first number of each field, for every point."""
    wanted = (*_PLACE, *_NORMAL)
    short = InputError(f"{label}: ends before the {count} points that its header promises; truncated, copy it again")
    if encoding == b"ascii":
        width = sum(repeat for _, _, repeat in fields)
        values, odd = leading_numbers(unix_text(body))
        if count * width > len(values):
            raise short if odd is None else bad_word(label, odd)
        table = values[: count * width].reshape(count, width)
        first = np.cumsum([0, *(repeat for _, _, repeat in fields)])
        return {name: table[:, first[k]] for k, (name, _, _) in enumerate(fields) if name in wanted}
    sizes = [np.dtype(kind).itemsize * repeat for _, kind, repeat in fields]
    if encoding == b"binary_compressed":
        packed, plain = (int.from_bytes(body[k : k + 4], "little") for k in (0, 4))
        if packed > len(body) - 8 or plain < count * sum(sizes):
            raise short
        if plain > _LARGEST_EXPANSION * len(body) + _FREE_BYTES:
            raise InputError(f"{label}: describes far more data than its bytes can hold; save it without compression")
        body, strides, starts = _lzf(body[8 : 8 + packed], plain, label), sizes, np.cumsum([0, *sizes]) * count
    elif encoding == b"binary":
        if count * sum(sizes) > len(body):
            raise short
        strides, starts = [sum(sizes)] * len(fields), np.cumsum([0, *sizes])
    else:
        raise InputError(f"{label}: its PCD data is of an unknown kind; save it as ascii or binary")
    return {
        name: np.ndarray((count,), kind, body, int(starts[k]), (strides[k],))
        for k, (name, kind, _) in enumerate(fields)
        if name in wanted
    }


def _lzf(packed: bytes, size: int, label: str) -> bytes:
    """The plain bytes of a stream of LZF: literal runs, and runs copied from what came before."""
    out = bytearray()
    at = 0
    try:
        while at < len(packed):
            control = packed[at]
            at += 1
            if control < 32:
                out += packed[at : at + control + 1]
                at += control + 1
            else:
                length = control >> 5
                if length == 7:
                    length += packed[at]
                    at += 1
                start = len(out) - ((control & 31) << 8) - packed[at] - 1
                at += 1
                if start < 0:
                    raise IndexError
                run = out[start : start + length + 2]
                while len(run) < length + 2:  # a run may copy itself
                    run += run[: length + 2 - len(run)]
                out += run
            if len(out) > size:
                raise IndexError
    except IndexError:
        raise InputError(f"{label}: its compressed PCD data is damaged; copy it again") from None
    if len(out) != size:
        raise InputError(f"{label}: its compressed PCD data is truncated; copy it again")
    return bytes(out)
