"""A file is written whole or not at all, whatever its name and whatever the disk."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imhead.errors import InputError
from imhead.io.atomic import check_folder, write_atomically
from imhead.io.picture_file import write_picture


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert message.isprintable() and ";" in message
    return message


@pytest.fixture
def small_disk() -> Iterator[None]:
    """The system refuses files above 1000 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("length", [1, 200, 246, 250, 255])
def test_every_name_that_a_file_may_have_is_written(tmp_path: Path, length: int) -> None:
    write_atomically(tmp_path / ("n" * length), b"content")
    assert (tmp_path / ("n" * length)).read_bytes() == b"content"


def test_a_name_that_no_file_may_have_is_refused(tmp_path: Path) -> None:
    assert "shorter name" in refusal(lambda: write_atomically(tmp_path / ("n" * 256), b""))
    assert "name" in refusal(lambda: write_atomically(tmp_path / "a\0b", b""))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_or_a_pipe_of_that_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        assert "no file" in refusal(lambda name=name: write_atomically(tmp_path / name, b""))
    assert (tmp_path / "folder").is_dir() and (tmp_path / "pipe").is_fifo()


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, small_disk: None) -> None:
    path = tmp_path / "a.ply"
    write_atomically(path, b"old")
    assert "a.ply" in refusal(lambda: write_atomically(path, bytes(2000)))
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_picture_is_written_whole_or_not_at_all(tmp_path: Path, small_disk: None) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    refusal(lambda: write_picture(Image.fromarray(noise), tmp_path / "big.png"))
    assert list(tmp_path.iterdir()) == []
    write_picture(Image.new("RGB", (4, 4)), tmp_path / "small.png")
    with Image.open(tmp_path / "small.png") as picture:
        assert picture.size == (4, 4)


def test_a_folder_for_results_is_checked_and_not_made(tmp_path: Path) -> None:
    check_folder(tmp_path / "not" / "yet")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        assert "is a file" in refusal(lambda folder=folder: check_folder(folder))
    assert "shorter name" in refusal(lambda: check_folder(tmp_path / ("n" * 300)))
