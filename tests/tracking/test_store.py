"""Results of frames on disk: read as they were written, never half of one, and only those of the same run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imhead.tracking.store import UNKNOWNS, FrameRecord, TrackStore


def a_record(lost: str | None = None) -> FrameRecord:
    rng = np.random.default_rng(0)
    return FrameRecord(
        lost, rng.normal(size=(4, 4)), rng.random(52), rng.normal(size=(UNKNOWNS, UNKNOWNS)).astype(np.float32),
        rng.normal(size=UNKNOWNS).astype(np.float32), {"face_median_mm": 0.25, "face_samples": 300},
    )  # fmt: skip


def test_a_record_reads_as_it_was_written(tmp_path: Path) -> None:
    store = TrackStore(tmp_path / "frames")
    store.begin("one")
    for index, record in enumerate((a_record(), a_record("few points lie on the face"))):
        store.write(index, record)
        again = store.read(index)
        assert again is not None and again.lost == record.lost and again.figures == record.figures
        for name in ("scan_to_head", "weights", "hessian", "gradient"):
            np.testing.assert_array_equal(getattr(again, name), getattr(record, name))


def test_the_same_record_gives_the_same_bytes(tmp_path: Path) -> None:
    stores = [TrackStore(tmp_path / name) for name in ("a", "b")]
    for store in stores:
        store.write(3, a_record())
    first, second = (next(store.folder.iterdir()).read_bytes() for store in stores)
    assert first == second


def test_a_damaged_record_is_as_none(tmp_path: Path) -> None:
    store = TrackStore(tmp_path)
    store.write(0, a_record())
    path = next(tmp_path.iterdir())
    whole = path.read_bytes()
    for content in (b"", whole[:100], whole[:-8], b"\x80" + whole):
        path.write_bytes(content)
        assert store.read(0) is None
    assert store.read(1) is None


def test_results_of_the_same_run_are_kept_and_those_of_another_removed(tmp_path: Path) -> None:
    store = TrackStore(tmp_path)
    store.begin("one")
    store.write(0, a_record())
    store.keep_identity({"keyframes": []})
    store.begin("one")
    assert store.read(0) is not None and store.identity() == {"keyframes": []}
    store.begin("another")
    assert store.read(0) is None and store.identity() is None
