"""Records of work: the same bytes for the same work, and none for what is damaged or belongs to other work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imhead.curation.store import PROBLEM, PROBLEM_PICTURE, SCAN_PICTURE, Record, ScanFolder, read_record, write_record

RECORD = Record({"b": np.arange(6.0).reshape(2, 3), "a": np.array([1, 2])}, {"z": 1, "y": [0.5, None]})


def test_a_record_comes_back_as_it_was_and_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_record(tmp_path / name, "mark", RECORD)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    found = read_record(tmp_path / "one", "mark")
    assert found is not None and found.figures == RECORD.figures
    assert np.array_equal(found.arrays["b"], RECORD.arrays["b"]) and found.arrays["a"].dtype == np.int64


@pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
def test_a_record_that_was_cut_short_is_none(tmp_path: Path, share: float) -> None:
    path = tmp_path / "one"
    write_record(path, "mark", RECORD)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert read_record(path, "mark") is None


def test_a_record_of_other_work_is_none(tmp_path: Path) -> None:
    write_record(tmp_path / "one", "mark", RECORD)
    assert read_record(tmp_path / "one", "other") is None and read_record(tmp_path / "two", "mark") is None


def test_a_problem_has_a_sentence_and_a_picture_until_the_scan_is_accepted(tmp_path: Path) -> None:
    folder = ScanFolder.of(tmp_path, "hash", "round")
    folder.folder.mkdir(parents=True)
    (folder.folder / SCAN_PICTURE).write_bytes(b"picture")
    folder.refuse("partial", "it shows little")
    assert "it shows little" in (folder.folder / PROBLEM).read_text()
    assert (folder.folder / PROBLEM_PICTURE).read_bytes() == b"picture"
    folder.accept()
    assert not (folder.folder / PROBLEM).exists() and not (folder.folder / PROBLEM_PICTURE).exists()
