"""A sequence of scans of one person, tracked: from a keyframe outwards, each frame from the one beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imhead.checkpoint import Model, load_head, save_head
from imhead.errors import InputError
from imhead.fitting.pose import Units
from imhead.io.limited import read_scan_limited
from imhead.tracking.config import TrackConfig
from imhead.tracking.frame import Person, Place, lost_record, search_frame, steady, track_frame
from imhead.tracking.identity import Identity, fit_identity
from imhead.tracking.sequence import fingerprint, frame_paths
from imhead.tracking.smoothing import bridged, smoothed
from imhead.tracking.store import FrameRecord, TrackStore
from imhead.types import FloatArray, Head

HEAD_FILE, WORKING_FOLDER = "head.safetensors", "working"


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """One frame of a track."""

    name: str
    """Of its file."""
    place: Place
    """Pose and expression, smoothed; of a lost frame, bridged."""
    lost: str | None
    """Why it was lost; None where the head was found."""
    figures: dict[str, Any]
    """Of the frame alone, before it was smoothed."""


@dataclass(frozen=True, eq=False)
class Track:
    """A tracked sequence."""

    head: Head
    """The neutral head of all frames."""
    paths: tuple[Path, ...]
    """Of the frames, in order."""
    frames: tuple[TrackedFrame, ...]
    """In the same order."""
    anchor: int
    """The frame from which the others were tracked."""
    identity: dict[str, Any]
    """Keyframes, scale and warnings of the identity's fit, ready for JSON."""

    def weights(self) -> FloatArray:
        """(T, 52) ARKit weights of the frames."""
        return np.stack([frame.place.weights for frame in self.frames])

    def poses(self) -> FloatArray:
        """(T, 4, 4) scan frame and unit → head frame, mm, of the frames."""
        return np.stack([frame.place.scan_to_head for frame in self.frames])


def track_folder(
    folder: Path,
    out: Path,
    model: Model,
    config: TrackConfig = TrackConfig(),
    *,
    units: Units = "auto",
    progress: Callable[[str, float], None] = lambda stage, part: None,
) -> Track:
    """Track the scans of a folder; a run that was stopped goes on with what it had written to `out`.

    Args:
        folder: of the frames, one scan each.
        out: folder for `head.safetensors`, and for working files in `working/`.
        model: to fit.
        config: settings.
        units: of the frames, if known.
        progress: is called with the stage and the part done, 0 to 1.

    Raises:
        InputError: no scans in the folder, a face in none of them, or `out` cannot be written to; one line.
    """
    paths = frame_paths(folder)
    store = TrackStore(out / WORKING_FOLDER)
    store.begin(fingerprint(paths, model.hash, config, units))
    identity = _identity(paths, out / HEAD_FILE, store, model, config, units, progress)
    kept = identity.kept
    person = Person(model, identity.head, kept["mm_per_unit"], kept["usual_mm"])
    walk = _Walk(paths, person, identity.places(), store, config)
    anchor, done = identity.anchor, 0

    def show() -> None:
        nonlocal done
        done += 1
        progress("frames", min(1.0, done / len(paths)))

    onwards, backwards = range(anchor, len(paths)), range(anchor - 1, -1, -1)
    walk.along(onwards, None, show)
    first = store.read(anchor)
    walk.along(backwards, first, show)
    walk.again(list(onwards))
    walk.again(list(backwards))
    return _smoothed(paths, identity, store, config)


def _identity(
    paths: Sequence[Path],
    head_file: Path,
    store: TrackStore,
    model: Model,
    config: TrackConfig,
    units: Units,
    progress: Callable[[str, float], None],
) -> Identity:
    kept = store.identity()
    if kept is not None:
        try:
            return Identity(load_head(head_file, model), kept)
        except InputError:
            pass  # the head file was taken away or replaced: it is fitted again, and comes out the same
    identity = fit_identity(paths, model, config, units, progress)
    save_head(identity.head, head_file)
    store.keep_identity(identity.kept)
    # as it is read back, so that a run that was stopped and goes on computes the same
    return Identity(load_head(head_file, model), store.identity() or identity.kept)


@dataclass(frozen=True, eq=False)
class _Walk:
    """Frames one after the other."""

    paths: Sequence[Path]
    person: Person
    keys: dict[int, Place]
    store: TrackStore
    config: TrackConfig

    def along(self, indices: range, start: FrameRecord | None, show: Callable[[], None]) -> None:
        """Track frames in the order of `indices`, the first from `start`, or from its own keyframe."""
        before = None if start is None else _place(start)
        earlier: Place | None = None
        missed = 0
        for index in indices:
            record = self.store.read(index)
            if record is None:
                record = self._record(index, before, earlier, missed)
                self.store.write(index, record)
            show()
            if record.lost is None:
                before, earlier, missed = _place(record), before if not missed else None, 0
            else:
                earlier, missed = None, missed + 1

    def again(self, indices: list[int]) -> None:
        """Try lost frames once more from the frame after them, the last ones first."""
        for index, after in zip(indices[-2::-1], indices[:0:-1]):
            record, other = self.store.read(index), self.store.read(after)
            if record is None or record.lost is None or other is None or other.lost is not None:
                continue
            try:
                scan = read_scan_limited(self.paths[index])
            except InputError:
                continue
            near = _place(other)
            found = track_frame(scan, self.person, [near], near, True, self.config)
            if found.lost is None:
                self.store.write(index, found)

    def _record(self, index: int, before: Place | None, earlier: Place | None, missed: int) -> FrameRecord:
        key = self.keys.get(index)
        at = key or before
        assert at is not None  # the first frame is a keyframe
        try:
            scan = read_scan_limited(self.paths[index])
        except InputError as error:
            return lost_record(before or at, f"cannot be read: {error}")
        starts = [key] if key is not None else steady(at, earlier)
        record = track_frame(scan, self.person, starts, before, missed > 0 and key is None, self.config)
        # a search takes seconds: it is made 1, 2, 4, 8 … frames after the head was lost
        if record.lost is not None and (missed + 1) & missed == 0:
            found = search_frame(scan, self.person, self.config)
            if found is not None:
                again = track_frame(scan, self.person, [found], None, True, self.config)
                record = again if again.lost is None else record
        return record


def _place(record: FrameRecord) -> Place:
    return Place(record.scan_to_head, record.weights)


def _smoothed(paths: Sequence[Path], identity: Identity, store: TrackStore, config: TrackConfig) -> Track:
    places: list[Place] = []
    told: list[tuple[str | None, dict[str, Any]]] = []
    for index in range(len(paths)):
        record = store.read(index)
        assert record is not None
        places.append(_place(record))
        told.append((record.lost, record.figures))
    found = np.array([lost is None for lost, _ in told])
    if not found.any():
        raise InputError(f"{paths[0].parent}: the head was lost in every frame; look at its scans, or fit one of them")
    places = bridged(places, found)
    frames = [
        TrackedFrame(path.name, place, lost, figures)
        for path, place, (lost, figures) in zip(paths, smoothed(places, found, store.read, config), told)
    ]
    return Track(identity.head, tuple(paths), tuple(frames), identity.anchor, identity.kept)
