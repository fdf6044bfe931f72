"""Views compressed by meshoptimizer (glTF's EXT_meshopt_compression, and the second version of its stream).

No package with this decoder is kept for Python, so it is written here after the specification; a test compares it with
streams of the original encoder. Shape legend: N rows, S bytes of a row, G groups of sixteen bytes.
"""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

_BLOCK_BYTES, _BLOCK_ROWS, _GROUP = 8192, 256, 16
_RAW = 8
# bits of each delta by version and control: a group's header of two bits picks one
_BITS = {(0, 0): (0, 2, 4, 8), (1, 0): (0, 1, 2, 4), (1, 1): (1, 2, 4, 8)}
_ZERO, _LITERAL = 2, 3
# how many deltas of a byte are written out behind the group, because they do not fit into the bits
_ESCAPES = {
    bits: bytes(
        sum((byte >> shift) & ((1 << bits) - 1) == (1 << bits) - 1 for shift in range(0, 8, bits))
        for byte in range(256)
    )
    for bits in (1, 2, 4)
}
_GROUPS_AT_ONCE = 1 << 14


def decode_meshopt(data: memoryview, count: int, size: int, mode: str, scheme: str) -> bytes:
    """The plain bytes of a compressed view.

    Args:
        data: the stream.
        count: rows, or indices.
        size: bytes of a row, or of an index.
        mode: ATTRIBUTES, TRIANGLES or INDICES.
        scheme: the filter; only NONE and EXPONENTIAL can hold places.

    Raises:
        ValueError: the stream is damaged or of an unknown kind.
    """
    try:
        if mode == "ATTRIBUTES":
            return _filtered(_attributes(data, count, size), scheme)
        if mode == "TRIANGLES":
            indices = _triangles(data, count)
        elif mode == "INDICES":
            indices = _sequence(data, count)
        else:
            raise ValueError(f"mode {mode[:20]!a}")
    except IndexError:
        raise ValueError("it ends too early") from None
    if size not in (2, 4):
        raise ValueError(f"indices of {size} bytes")
    return np.frombuffer(indices, dtype=np.int64).astype(f"<u{size}").tobytes()


def _filtered(rows: NDArray[np.uint8], scheme: str) -> bytes:
    if scheme == "EXPONENTIAL":
        words = np.ascontiguousarray(rows).view("<i4")
        mantissa = (words << 8) >> 8
        with np.errstate(over="ignore"):
            return np.ldexp(mantissa.astype("<f4"), words >> 24).astype("<f4").tobytes()
    if scheme != "NONE":
        raise ValueError(f"filter {scheme[:20]!a} cannot hold places or indices")
    return rows.tobytes()


def _attributes(data: memoryview, count: int, size: int) -> NDArray[np.uint8]:
    """(N, S) rows from the differences between them."""
    if size % 4 or not 0 < size <= _BLOCK_ROWS:
        raise ValueError(f"rows of {size} bytes")
    if len(data) < 1 or data[0] not in (0xA0, 0xA1):
        raise ValueError("it does not begin as a stream of rows")
    version = data[0] & 15
    tail = size + (size // 4 if version else 0)
    end = len(data) - max(tail, 24 if version else 32)
    if end < 1:
        raise ValueError("it ends too early")
    baseline = np.frombuffer(data, np.uint8, size, len(data) - tail)
    channels = bytes(data[len(data) - size // 4 :]) if version else bytes(size // 4)
    per_block = min(_BLOCK_BYTES // size // _GROUP * _GROUP, _BLOCK_ROWS)
    out = np.empty((count, size), dtype=np.uint8)
    bits, offsets = bytearray(), array("q")
    at = 1
    for first in range(0, count, per_block):
        at = _block_groups(data, at, min(per_block, count - first), size, version, bits, offsets)
    if at != end:
        raise ValueError("its parts do not fill it")
    deltas = _deltas(data, np.frombuffer(bits, np.uint8), np.frombuffer(offsets, np.int64))
    whole = count // per_block
    groups = per_block // _GROUP
    full = deltas[: whole * size * groups].reshape(whole, size, per_block)
    out[: whole * per_block] = full.transpose(0, 2, 1).reshape(-1, size)
    rest = count - whole * per_block
    if rest:
        last = deltas[whole * size * groups :].reshape(size, -1)
        out[whole * per_block :] = last[:, :rest].T
    for channel in range(size // 4):
        own = slice(4 * channel, 4 * channel + 4)
        out[:, own] = _summed(np.ascontiguousarray(out[:, own]), baseline[own], channels[channel])
    return out


def _block_groups(
    data: memoryview, at: int, rows: int, size: int, version: int, bits: bytearray, offsets: array[int]
) -> int:
    """Note bits and offset of every group of one block; returns the offset after the block."""
    groups = -(-rows // _GROUP)
    controls = at
    at += size // 4 if version else 0
    for k in range(size):
        control = (data[controls + k // 4] >> (2 * (k % 4))) & 3 if version else 0
        if control == _ZERO:
            bits += bytes(groups)
            offsets.extend([at] * groups)
        elif control == _LITERAL:
            bits += bytes([_RAW]) * groups
            offsets.extend(range(at, at + _GROUP * groups, _GROUP))
            at += rows
        else:
            choices = _BITS[version, control]
            head = at
            at += -(-groups // 4)
            for g in range(groups):
                width = choices[(data[head + g // 4] >> (2 * (g % 4))) & 3]
                bits.append(width)
                offsets.append(at)
                packed = 2 * width
                if 0 < width < _RAW:
                    packed += sum(bytes(data[at : at + packed]).translate(_ESCAPES[width]))
                at += packed
    if at > len(data):
        raise IndexError
    return at


def _deltas(data: memoryview, bits: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(G, 16) the differences of all groups."""
    raw = np.frombuffer(data, np.uint8)
    out = np.zeros((len(bits), _GROUP), dtype=np.uint8)
    for first in range(0, len(bits), _GROUPS_AT_ONCE):
        part = slice(first, first + _GROUPS_AT_ONCE)
        for width in (1, 2, 4, _RAW):
            rows = np.flatnonzero(bits[part] == width) + first
            if not len(rows):
                continue
            start = offsets[rows][:, None]
            if width == _RAW:
                # the last literal of a block may run past it by rows that nobody reads
                out[rows] = raw[np.minimum(start + np.arange(_GROUP), len(raw) - 1)]
                continue
            per_byte, top = 8 // width, (1 << width) - 1
            place = np.arange(_GROUP)
            # one bit counts from the low end of its byte, more from the high end
            shift = place % 8 if width == 1 else 8 - width - width * (place % per_byte)
            values = (raw[start + place // per_byte] >> shift.astype(np.uint8)) & np.uint8(top)
            escaped = values == top
            behind = start + 2 * width + np.cumsum(escaped, axis=1) - 1
            values[escaped] = raw[behind[escaped]]
            out[rows] = values
    return out


def _summed(deltas: NDArray[np.uint8], baseline: NDArray[np.uint8], channel: int) -> NDArray[np.uint8]:
    """(N, 4) four bytes of each row from their differences (N, 4) to the row before."""
    kind = channel & 3
    if kind == 2:
        words = deltas.view("<u4")[:, 0]
        turn = channel >> 4
        if turn:
            words = (words >> np.uint32(turn)) | (words << np.uint32(32 - turn))
        words = np.bitwise_xor.accumulate(words) ^ baseline.copy().view("<u4")[0]
        return words.astype("<u4").view(np.uint8).reshape(-1, 4)
    if kind == 3:
        raise ValueError("a channel of an unknown kind")
    unit = "<u2" if kind else "u1"
    steps = deltas.view(unit)
    one = steps.dtype.type(1)
    steps = (steps >> one) ^ (-(steps & one).astype(steps.dtype)).astype(steps.dtype)
    summed = np.cumsum(steps, axis=0, dtype=steps.dtype) + baseline.copy().view(unit)
    return summed.astype(unit).view(np.uint8).reshape(-1, 4)


def _dezig(value: int) -> int:
    return (value >> 1) ^ -(value & 1)


class _Stream:
    """Bytes that are read one after the other."""

    def __init__(self, data: memoryview, at: int, end: int) -> None:
        self._data, self._at = data[:end], at

    def byte(self) -> int:
        """The next byte; IndexError at the end."""
        self._at += 1
        return self._data[self._at - 1]

    def number(self) -> int:
        """The next number, of seven-bit digits from the lowest; IndexError at the end or after 32 bits."""
        value = shift = 0
        while shift <= 28:
            byte = self.byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise IndexError


def _sequence(data: memoryview, count: int) -> array[int]:
    """Indices, each a step from one of the last two."""
    if len(data) < 5 + count or data[0] != 0xD1:
        raise ValueError("it does not begin as a stream of indices, or ends too early")
    stream = _Stream(data, 1, len(data) - 4)
    out = _zeros(count)
    last = [0, 0]
    for k in range(count):
        value = stream.number()
        last[value & 1] += _dezig(value >> 1)
        out[k] = last[value & 1]
    return out


def _triangles(data: memoryview, count: int) -> array[int]:
    """Corners of triangles, most of them on edges and points of the last sixteen."""
    total = count // 3
    if count % 3 or len(data) < 17 + total or data[0] not in (0xE0, 0xE1):
        raise ValueError("it does not begin as a stream of triangles, or ends too early")
    # the first version had no codes for one step up or down
    seen_codes = 13 if data[0] == 0xE1 else 15
    table = bytes(data[len(data) - 16 :])
    codes = bytes(data[1 : 1 + total])
    stream = _Stream(data, 1 + total, len(data) - 16)
    edges: list[tuple[int, int]] = [(0, 0)] * 16
    points = [0] * 16
    edge = point = following = last = 0
    out = _zeros(count)
    filled = 0

    def step() -> int:
        """The next free index, a step away from the last one."""
        nonlocal last
        last += _dezig(stream.number())
        return last

    for code in codes:
        high, low = code >> 4, code & 15
        if high < 15:
            a, b = edges[(edge - 1 - high) & 15]
            fresh = True
            if low == 0:
                c = following
                following += 1
            elif low < seen_codes:
                c, fresh = points[(point - 1 - low) & 15], False
            elif low < 15:
                last += -1 if low == 13 else 1
                c = last
            else:
                c = step()
            if fresh:
                points[point] = c
                point = (point + 1) & 15
            edges[edge], edges[(edge + 1) & 15] = (c, b), (a, c)
            edge = (edge + 2) & 15
        else:
            free = low >= 14
            if free:
                aux = stream.byte()
                if aux == 0:
                    following = 0
            else:
                aux = table[low]
            second, third = aux >> 4, aux & 15
            a = b = c = 0
            if low != 15:
                a = following
                following += 1
            if second == 0:
                b = following
                following += 1
            elif second < 15 or not free:
                b = points[(point - second) & 15]
            if third == 0:
                c = following
                following += 1
            elif third < 15 or not free:
                c = points[(point - third) & 15]
            if low == 15:
                a = step()
            if free and second == 15:
                b = step()
            if free and third == 15:
                c = step()
            points[point] = a
            point = (point + 1) & 15
            if second == 0 or (free and second == 15):
                points[point] = b
                point = (point + 1) & 15
            if third == 0 or (free and third == 15):
                points[point] = c
                point = (point + 1) & 15
            edges[edge], edges[(edge + 1) & 15], edges[(edge + 2) & 15] = (b, a), (c, b), (a, c)
            edge = (edge + 3) & 15
        out[filled], out[filled + 1], out[filled + 2] = a, b, c
        filled += 3
    return out


def _zeros(count: int) -> array[int]:
    return array("q", (0,)) * count  # one that grows would be in memory twice while it does
