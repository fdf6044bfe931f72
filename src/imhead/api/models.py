"""Where heads come from: load a model, then sample, open and fit.

The examples run as they stand, after `import imhead`, `model = imhead.load()` and `head = model.sample(seed=7)[0]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from imhead import checkpoint
from imhead.api.checks import (
    checked_fit,
    checked_number,
    checked_scale,
    checked_seed,
    checked_units,
    checked_whole,
)
from imhead.api.cluster import workers_at
from imhead.api.curation import Curation
from imhead.api.curation import curate as curate_folder
from imhead.api.fitted import FittedHead
from imhead.api.heads import EditableHead
from imhead.api.people import FittedPerson
from imhead.api.tracks import TrackedHead, checked_track
from imhead.api.workers import WORKER_BYTES
from imhead.checkpoint import Model
from imhead.curation.config import CurationConfig
from imhead.editing.soundness import MOST_PIERCED, pierced_walls
from imhead.errors import InputError
from imhead.fitting.config import FitConfig
from imhead.fitting.fit import fit_scan
from imhead.fitting.landmarks import Landmarks, landmark_pairs, read_landmarks
from imhead.fitting.person import fit_person
from imhead.fitting.pose import Units
from imhead.io.limited import read_scan_limited
from imhead.reports.notebook import value_html
from imhead.reports.track_report import write_track
from imhead.template.surface import TemplateSurface, has_template, template_of
from imhead.tracking.config import TrackConfig
from imhead.tracking.track import track_folder
from imhead.types import Head, Scan

Progress = Callable[[str, float], None]
"""Called with the stage of a fit and the part done, 0 to 1."""
_TOWARDS_MEAN = 0.9


@dataclass(frozen=True, eq=False, repr=False)
class MorphableModel:
    """A trained model, which draws, opens and fits heads."""

    model: Model
    """Networks, name, hash and card."""

    def __repr__(self) -> str:
        """
        >>> model
        MorphableModel(default ..., identity code of 256 numbers, 39 region codes of 64, on cpu)
        """
        config = self.model.net.config
        return (
            f"MorphableModel({self.model.name} {self.model.hash}, identity code of {config.identity_size} numbers, "
            f"{len(self.model.net.radius)} region codes of {config.region_code_size}, on {self.model.device})"
        )

    def _repr_html_(self) -> str:
        """Name, size and origin of the model, as a notebook shows them."""
        net, card = self.model.net, self.model.card
        rows: list[tuple[str, object]] = [
            ("weights", self.model.hash),
            ("identity code", f"{net.config.identity_size} numbers"),
            ("regions", f"{len(net.radius)}, codes of {net.config.region_code_size} numbers"),
            ("template", "yes" if self.has_template else "none: no measurements, no shapes"),
            ("device", self.model.device),
        ]
        told = card.items() if isinstance(card, dict) else ()
        return value_html(
            f"MorphableModel {self.model.name}", [*rows, *(item for item in told if isinstance(item[1], str))]
        )

    @property
    def template(self) -> TemplateSurface:
        """The template surface: one topology with UVs for every head.

        Raises:
            InputError: the model has none beside its file.
        """
        return template_of(self.model)

    @property
    def has_template(self) -> bool:
        """Whether a template lies beside the model's file; without one there are no measurements."""
        return has_template(self.model)

    def neutral(self) -> EditableHead:
        """The mean head.

        >>> model.neutral()
        EditableHead(default, mean head; no edits)
        """
        return EditableHead(self.model.neutral(), self.model)

    def sample(self, count: int = 1, seed: int = 0, spread: float = 0.8) -> list[EditableHead]:
        """New neutral heads. One whose nose wings or ears would have holes moves towards the mean until they have none.

        Args:
            count: how many.
            seed: the same seed draws the same heads.
            spread: standard deviation of the identity codes; below 1 heads stay nearer to the mean.

        >>> len(model.sample(3, seed=1))
        3
        """
        count, seed = checked_whole("the number of heads", count, 1, 100_000), checked_seed(seed)
        spread = checked_number("the spread", spread, 0.0, 10.0, "1 is that of the identities that the model knows")
        size = self.model.net.config.identity_size
        drawn = np.random.default_rng(seed).normal(0.0, spread, (count, size))
        neutral = self.model.neutral()
        heads = [
            replace(neutral, z_id=z, provenance=(f"sample {k} of seed {seed}, spread {spread:g}",))
            for k, z in enumerate(drawn)
        ]
        return [EditableHead(self._with_whole_walls(head), self.model) for head in heads]

    def _with_whole_walls(self, head: Head) -> Head:
        while pierced_walls(self.model, head) > MOST_PIERCED:
            head = replace(head, z_id=_TOWARDS_MEAN * np.asarray(head.z_id))
        return head

    def open(self, path: str | Path) -> EditableHead:
        """A head from its file.

        Raises:
            InputError: no such file, a damaged one, or a head of another model.

        >>> head.save(out / "again.safetensors")
        >>> model.open(out / "again.safetensors")
        EditableHead(default, sample 0 of seed 7, spread 0.8; no edits)
        """
        return EditableHead(checkpoint.load_head(Path(path), self.model), self.model)

    def fit(
        self,
        scan: Scan | str | Path,
        units: Units = "auto",
        config: FitConfig = FitConfig(),
        *,
        mm_per_unit: float | None = None,
        landmarks: Landmarks | str | Path | None = None,
        mirrored: bool = False,
        progress: Progress = lambda stage, part: None,
    ) -> FittedHead:
        """Find the head in a scan: any pose, mesh or points, whole or partial.

        Args:
            scan: a scan, or the path of one: .ply, .obj, .stl, .glb and other formats.
            units: what the numbers of the scan mean, if you know it.
            config: settings of the fit.
            mm_per_unit: millimetres that one unit of the scan stands for, if you know it; goes before `units`.
            landmarks: region name → place (3,) in the scan's own frame, three or more, or the path of a JSON file that
                holds them; they replace the search for the pose.
            mirrored: the scan has left and right swapped, as left-handed programs write it: the head is fitted to its
                mirror image, and the overlay lies on the scan as it is. Landmarks are named as the scan shows them.
            progress: called with the stage and the part done, 0 to 1.

        Raises:
            InputError: the file cannot be read, no face was found, or a setting is none; the message says what to do.

        >>> fitted = model.fit(demo_scan)
        >>> fitted.report()["scan_to_head_mm"]["median"] < 0.3
        True
        """
        config, units, mm_per_unit = checked_fit(config), checked_units(units), checked_scale(mm_per_unit)
        found = scan if isinstance(scan, Scan) else read_scan_limited(Path(scan))
        places = read_landmarks(Path(landmarks)) if isinstance(landmarks, str | Path) else landmarks
        pairs = None if places is None else landmark_pairs(places, self.model)
        result = fit_scan(
            found, self.model, config, units=units, mm_per_unit=mm_per_unit, landmarks=pairs,
            mirrored=mirrored, progress=progress,
        )  # fmt: skip
        return FittedHead(result.head, self.model, found, result)

    def fit_person(
        self,
        scans: Sequence[Scan | str | Path],
        units: Units = "auto",
        config: FitConfig = FitConfig(),
        *,
        mm_per_unit: float | None = None,
        progress: Progress = lambda stage, part: None,
    ) -> FittedPerson:
        """One neutral head from several scans of a person, in any poses and expressions; views need not overlap.

        A scan that shows somebody else is named in the report and does not enter the head.

        Args:
            scans: scans, or their paths.
            units: what the numbers of all scans mean, if you know it.
            config: settings of the fit.
            mm_per_unit: millimetres that one unit of the scans stands for, if you know it; goes before `units`.
            progress: called with the scan or the stage, and the part done, 0 to 1.

        Raises:
            InputError: no scans, a file that cannot be read, a face in none of them, or a setting that is none.

        >>> pair = model.fit_person([demo_scan, second_scan], config=imhead.FitConfig(points=2000, detail=False))
        >>> bool(pair.codes.z_exp.any())  # the neutral face
        False
        """
        config, units, mm_per_unit = checked_fit(config), checked_units(units), checked_scale(mm_per_unit)
        if isinstance(scans, str | Path | Scan) or not isinstance(scans, Sequence):
            raise InputError(f"a person is fitted to a list of scans; {type(scans).__name__} is none")
        files = tuple(scan.name if isinstance(scan, Scan) else str(scan) for scan in scans)
        found = tuple(scan if isinstance(scan, Scan) else read_scan_limited(Path(scan)) for scan in scans)
        result = fit_person(found, self.model, config, units=units, mm_per_unit=mm_per_unit, progress=progress)
        return FittedPerson(result.head, self.model, found, files, result, config)

    def track(
        self,
        folder: str | Path,
        out: str | Path,
        units: Units = "auto",
        config: TrackConfig = TrackConfig(),
        *,
        progress: Progress = lambda stage, part: None,
    ) -> TrackedHead:
        """Track one person through a sequence of scans: one head, and its pose and expression in each frame.

        Writes what `imhead track` writes. A run that was stopped goes on with what it had written to `out`.

        Args:
            folder: of the frames, one scan each, in the natural order of their names.
            out: folder, made where missing.
            units: what the numbers of the scans mean, if you know it.
            config: settings.
            progress: called with the stage and the part done, 0 to 1.

        Raises:
            InputError: no scans, a face in none of them, or a setting that is none; the message says what to do.

        >>> import shutil
        >>> frames = out / "frames"
        >>> frames.mkdir()
        >>> copied = shutil.copy(demo_scan, frames / "frame_0.ply")
        >>> model.track(frames, out / "track").report()["found"]
        1
        """
        config, units = checked_track(config), checked_units(units)
        found = track_folder(Path(folder), Path(out), self.model, config, units=units, progress=progress)
        report = write_track(found, self.model, Path(out), config)
        return TrackedHead(found.head, self.model, found, Path(out), report)

    def curate(
        self,
        scans: str | Path,
        out: str | Path,
        *,
        people: str | Path | None = None,
        jobs: int = 1,
        ray: str | None = None,
        memory_bytes: int | None = None,
        config: CurationConfig = CurationConfig(),
        progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    ) -> Curation:
        """From a folder of raw scans to people to learn from, with a page of what was left out and why.

        Writes what `imhead curate` writes. A run that was stopped goes on, and one with more scans does what is new.

        Args:
            scans: folder: `person/expression.ply`, or plain files.
            out: folder, made where missing.
            people: a CSV that says who is who, and more.
            jobs: processes, of one thread each; 1 works in this process, with all its threads.
            ray: address of a running Ray cluster, which does the work instead: `HOST:PORT`, or `auto`.
            memory_bytes: what each of several processes may allocate; 4 GiB if left out.
            config: settings, and the limits of the audit.
            progress: called with `scans`, `people`, `registrations` and `files` of people, and how many of how many.

        Raises:
            InputError: no scans, a table that cannot be read, a folder that cannot be written to, no such cluster, or
                one whose machines do not see the files.

        >>> raw = out / "raw"
        >>> raw.mkdir()
        >>> size = (raw / "anna.ply").write_bytes(b"no scan")
        >>> model.curate(raw, out / "curated").report()["reasons"]
        {'unreadable': 1}
        """
        jobs = checked_whole("the number of jobs", jobs, 1, 1024)
        if self.model.device.type != "cpu" and (jobs > 1 or ray is not None):
            raise InputError("several scans at a time are fitted on CPUs; load the model on the device cpu")
        table = None if people is None else Path(people)
        shared = (Path(scans), self.model.path)
        with workers_at(ray, jobs, Path(out), shared, memory_bytes or WORKER_BYTES) as workers:
            return curate_folder(
                Path(scans), Path(out), self.model, people=table, workers=workers, config=config, progress=progress
            )


def load(model: str | Path = "default", device: str = "auto") -> MorphableModel:
    """Open a model on `auto`, `cpu` or `cuda`: by name, by path, or from the hub as `hf:owner/name@revision`.

    Raises:
        InputError: no such model, a damaged file, a hub that cannot be reached, or no such device.

    >>> imhead.load("default", device="cpu").model.name
    'default'
    """
    return MorphableModel(checkpoint.load_model(model, checkpoint.device_named(device)))


def fit(
    scan: Scan | str | Path,
    units: Units = "auto",
    model: str | Path = "default",
    config: FitConfig = FitConfig(),
    *,
    landmarks: Landmarks | str | Path | None = None,
    mirrored: bool = False,
    progress: Progress = lambda stage, part: None,
) -> FittedHead:
    """Find the head in a scan: `load(model).fit(scan, …)`.

    >>> fast = imhead.FitConfig(points=2000, detail=False, resolution=64)
    >>> imhead.fit(demo_scan, config=fast).report()["units"]
    'cm'
    """
    return load(model).fit(scan, units, config, landmarks=landmarks, mirrored=mirrored, progress=progress)
