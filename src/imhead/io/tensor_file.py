"""Metadata of safetensors files in a fixed order: the library's own writer orders it anew in every process."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping

_ALIGNMENT = 8  # the header is padded to a multiple of this many bytes


def with_metadata(content: bytes, metadata: Mapping[str, str]) -> bytes:
    """A safetensors file that was written without metadata, with metadata, sorted by name: same input, same bytes."""
    length = struct.unpack("<Q", content[:8])[0]
    tensors = json.loads(content[8 : 8 + length])
    header = {"__metadata__": dict(sorted(metadata.items())), **tensors}
    text = json.dumps(header, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // _ALIGNMENT) * _ALIGNMENT)
    return struct.pack("<Q", len(text)) + text + content[8 + length :]
