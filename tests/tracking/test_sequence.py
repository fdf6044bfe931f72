"""The frames of a folder, and what tells one run of a track from another."""

from __future__ import annotations

from pathlib import Path

import pytest

from imhead.errors import InputError
from imhead.tracking.config import TrackConfig
from imhead.tracking.sequence import fingerprint, frame_paths


def some_frames(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).write_bytes(b"ply")
    return frame_paths(folder)


def test_frames_come_in_the_natural_order_of_their_names(tmp_path: Path) -> None:
    found = some_frames(tmp_path, "frame_10.ply", "frame_9.ply", "frame_009.obj", "Frame_1.PLY", "a.ply")
    assert [path.name for path in found] == ["a.ply", "Frame_1.PLY", "frame_009.obj", "frame_9.ply", "frame_10.ply"]


def test_files_that_are_no_scans_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "sub.ply").mkdir()
    found = some_frames(tmp_path, "frame_1.ply", "README.md", ".DS_Store", "notes.txt")
    assert [path.name for path in found] == ["frame_1.ply"]


def test_a_name_of_many_digits_is_sorted_too(tmp_path: Path) -> None:
    found = some_frames(tmp_path, "1.ply", f"{'9' * 200}.ply", "2.ply")
    assert [len(path.name) for path in found] == [5, 5, 204]


def test_a_folder_without_scans_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no scan"):
        frame_paths(tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        frame_paths(tmp_path / "none")


def test_a_fingerprint_changes_with_files_model_and_settings_that_matter(tmp_path: Path) -> None:
    paths = some_frames(tmp_path, "1.ply", "2.ply")
    own = fingerprint(paths, "model", TrackConfig(), "auto")
    assert fingerprint(paths, "model", TrackConfig(frames_per_second=60.0), "auto") == own
    others = {
        fingerprint(paths[:1], "model", TrackConfig(), "auto"),
        fingerprint(paths, "other", TrackConfig(), "auto"),
        fingerprint(paths, "model", TrackConfig(points=100), "auto"),
        fingerprint(paths, "model", TrackConfig(), "mm"),
    }
    (tmp_path / "2.ply").write_bytes(b"another")
    others.add(fingerprint(paths, "model", TrackConfig(), "auto"))
    assert own not in others and len(others) == 5
