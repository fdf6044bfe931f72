"""A JSON file of another run is read in bounded time and memory, or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead.io.json_file import read_json_object

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(), VALUES))
def test_an_object_comes_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, value: dict[str, object]
) -> None:
    path = tmp_path_factory.getbasetemp() / "value.json"
    path.write_text(json.dumps(value))
    assert read_json_object(path) == value


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_other_bytes_are_no_object(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.json"
    path.write_bytes(content)
    found = read_json_object(path)
    assert found is None or found == json.loads(content)


@pytest.mark.parametrize("content", [b"", b"[1]", b"3", b"{", b"[" * 200_000, b'{"a": ' * 200_000])
def test_no_object_no_whole_object_and_one_too_deep_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file.json").write_bytes(content)
    assert read_json_object(tmp_path / "file.json") is None


def test_a_file_of_a_terabyte_is_refused_at_once(tmp_path: Path) -> None:
    with (tmp_path / "report.json").open("wb") as opened:
        opened.write(b"{}")
        opened.truncate(1 << 40)  # takes no room
    assert read_json_object(tmp_path / "report.json") is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with names")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "report.json")
    assert read_json_object(tmp_path / "report.json") is None
    assert read_json_object(tmp_path) is None and read_json_object(tmp_path / "no such") is None
