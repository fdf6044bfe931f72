"""Safetensors files with metadata: the same bytes every time, and what the library reads is what was written."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load, save

from imhead.io.tensor_file import with_metadata

TENSORS = {"b": torch.arange(6, dtype=torch.float32).reshape(2, 3), "a": torch.ones(3, dtype=torch.float16)}


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=20), st.text(max_size=50), max_size=8), st.randoms())
def test_the_bytes_do_not_depend_on_the_order_of_the_metadata(metadata: dict[str, str], order: random.Random) -> None:
    names = list(metadata)
    order.shuffle(names)
    shuffled = {name: metadata[name] for name in names}
    assert with_metadata(save(TENSORS), shuffled) == with_metadata(save(TENSORS), metadata)


def test_the_library_reads_the_tensors_and_the_metadata(tmp_path: Path) -> None:
    metadata = {"format": "x-1", "notes": 'quotes " and \u00e4 and \x1b'}
    content = with_metadata(save(TENSORS), metadata)
    (tmp_path / "file.safetensors").write_bytes(content)
    with safe_open(tmp_path / "file.safetensors", framework="pt") as opened:
        assert opened.metadata() == metadata
    read = load(content)
    assert set(read) == set(TENSORS) and all(torch.equal(read[name], TENSORS[name]) for name in TENSORS)
