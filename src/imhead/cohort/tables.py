"""The tables and arrays of a study as bytes: tidy CSV, one value a row, and NPZ."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np

from imhead.cohort.study import Study
from imhead.io.csv_file import csv_bytes
from imhead.measure.landmarks import landmark_names
from imhead.measure.population import Population
from imhead.measure.table import measurement

_EPOCH = (1980, 1, 1, 0, 0, 0)  # of the entries of an archive: the same study gives the same bytes


def measurement_table(study: Study, among: Population) -> bytes:
    """One row for each measurement of each sitting; empty where a figure is not known."""
    rows = (
        (
            sitting.person, sitting.group, sitting.path.name, name, _number(value), measurement(name).unit,
            _number(seen.errors.get(name)), int(seen.seen[name]), _number(z.get(name)), _number(at_size.get(name)),
            int(seen.scale_assumed),
        )
        for sitting, seen in zip(study.sittings, study.observations)
        for z in (among.z_scores(seen.measurements, scale_assumed=seen.scale_assumed),)
        for at_size in (among.z_at_size(seen.measurements),)
        for name, value in seen.measurements.items()
    )  # fmt: skip
    return csv_bytes(
        ("person", "group", "file", "measurement", "value", "unit", "error_68", "measured", "z_model", "z_at_size",
         "scale_assumed"), rows,
    )  # fmt: skip


def landmark_table(study: Study) -> bytes:
    """One row for each landmark of each sitting, head frame, mm."""
    rows = (
        (
            sitting.person, sitting.group, sitting.path.name, name, *(_number(x) for x in seen.landmarks[k]),
            _number(float(seen.landmark_sigma_mm[k])), int(seen.landmark_measured[k]),
        )
        for sitting, seen in zip(study.sittings, study.observations)
        for k, name in enumerate(landmark_names())
    )  # fmt: skip
    return csv_bytes(("person", "group", "file", "landmark", "x_mm", "y_mm", "z_mm", "sigma_mm", "measured"), rows)


def group_table(study: Study) -> bytes:
    """One row for each test of a region."""
    tests = () if study.test is None else study.test.tests
    return csv_bytes(
        ("region", "kind", "people_first", "people_second", "difference_mm", "p", "q"),
        ((t.region, t.kind, *t.people, _number(t.difference_mm), f"{t.p:.6g}", f"{t.q:.6g}")
         for t in tests),
    )  # fmt: skip


def repeat_table(study: Study) -> bytes:
    """One row for each measurement of people who were measured twice or more."""
    return csv_bytes(
        ("measurement", "unit", "people", "values", "tem", "tem_percent", "icc", "icc_low", "icc_high", "bias",
         "limit_low", "limit_high"),
        ((name, measurement(name).unit, r.people, r.values,
          *(_number(k) for k in (r.tem, r.tem_percent, r.icc, r.icc_low, r.icc_high, r.bias, r.low, r.high)))
         for name, r in study.repeats.items()),
    )  # fmt: skip


def shape_arrays(study: Study) -> bytes:
    """`shapes.npz`: every sitting's vertices as they are and aligned, what was measured, and the components.

    `vertices`, `procrustes` (S, V, 3) and `sigma_mm` (S, V), mm; `measured` (S, V); `size_mm` (S,); `faces` (F, 3);
    `person`, `group`, `file` (S,); `common` (V,); `component_scores` (N, K) of `component_person` (N,), in standard
    deviations; `component_share` (K,); `region` (V,).
    """
    arrays: dict[str, Any] = {
        "vertices": np.stack([k.vertices for k in study.observations]).astype(np.float32),
        "procrustes": study.laid.astype(np.float32),
        "measured": np.stack([k.measured for k in study.observations]),
        "sigma_mm": np.stack([k.sigma_mm for k in study.observations]).astype(np.float32),
        "size_mm": study.size_mm,
        "faces": study.surface.faces.astype(np.int32),
        "region": study.surface.region.astype(np.int32),
        "common": study.common,
        "person": np.array([k.person for k in study.sittings], dtype=np.str_),
        "group": np.array([k.group for k in study.sittings], dtype=np.str_),
        "file": np.array([k.path.name for k in study.sittings], dtype=np.str_),
        "component_scores": study.components.scores,
        "component_share": study.components.explained,
        "component_person": np.array(study.person, dtype=np.str_),
    }
    if study.test is not None:
        arrays |= {"difference_mm": study.difference_mm(), "vertex_q": study.test.vertex_q}
    return _npz(arrays)


def _npz(arrays: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            inside = io.BytesIO()
            np.lib.format.write_array(inside, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), inside.getvalue())
    return buffer.getvalue()


def _number(value: float | None) -> str:
    return "" if value is None or not np.isfinite(value) else f"{value:.4f}"
