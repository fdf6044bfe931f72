"""The folder that a cohort leaves behind: tables, arrays, landmarks, meshes, report and page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from math import comb
from pathlib import Path
from typing import Any

import numpy as np

from imhead.checkpoint import Model
from imhead.cohort.groups import LEAST_PEOPLE, GroupConfig
from imhead.cohort.people import sitting_names
from imhead.cohort.study import Study
from imhead.cohort.tables import group_table, landmark_table, measurement_table, repeat_table, shape_arrays
from imhead.conventions import ASSUMED_SCALE
from imhead.io.atomic import remove, write_atomically
from imhead.io.landmark_writer import LANDMARK_EXTENSIONS, write_landmarks
from imhead.io.mesh_file import write_mesh
from imhead.io.picture_file import write_picture
from imhead.measure.landmarks import landmark_names
from imhead.measure.population import Population
from imhead.measure.table import measurement
from imhead.reports.cohort_page import LARGE_MM, cohort_page
from imhead.reports.cohort_pictures import (
    component_picture,
    difference_picture,
    mean_picture,
    repeat_picture,
    shown_picture,
)
from imhead.types import Mesh

_FEW = 10  # people of a group, below which a warning says so


def write_study(
    study: Study, model: Model, among: Population, out: Path, *, config: GroupConfig,
    sizes: bool = True, left_out: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:  # fmt: skip
    """Write a study; what `report.json` says.

    Args:
        among: the model's own population.
        out: folder, made where missing.
        config: of the tests.
        sizes: whether heads keep their size.
        left_out: `file` and `reason` of what could not be used.
    """
    remove(out / "report.json")  # comes last: a folder that holds one is whole
    facts = _facts(study, model, among, config, sizes, left_out)
    write_atomically(out / "measurements.csv", measurement_table(study, among))
    write_atomically(out / "landmarks.csv", landmark_table(study))
    write_atomically(out / "shapes.npz", shape_arrays(study))
    for name, table, wanted in (
        ("groups.csv", group_table, study.test is not None), ("repeats.csv", repeat_table, bool(study.repeats)),
    ):  # fmt: skip
        remove(out / name)
        if wanted:
            write_atomically(out / name, table(study))
    for name, seen in zip(sitting_names(study.sittings), study.observations):
        for extension in LANDMARK_EXTENSIONS:
            write_landmarks(dict(zip(landmark_names(), seen.landmarks)), out / "landmarks" / f"{name}{extension}")
        write_mesh(Mesh(seen.vertices, study.surface.faces), out / "shapes" / f"{name}.ply")
    write_mesh(Mesh(study.mean, study.surface.faces), out / "mean.ply")
    for k, group in enumerate(study.compared or (), 1):
        write_mesh(Mesh(study.group_mean(group), study.surface.faces), out / f"mean_{k}.ply")
    pictures = {
        "mean": mean_picture(study), "components": component_picture(study), "shown": shown_picture(study),
    }  # fmt: skip
    if study.test is not None:
        pictures["difference"] = difference_picture(study, config.q)
    if study.repeat_mm is not None:
        pictures["repeats"] = repeat_picture(study)
    for name, picture in pictures.items():
        write_picture(picture, out / f"{name}.png")
    write_atomically(out / "report.html", cohort_page(study, facts, pictures).encode())
    write_atomically(out / "report.json", (json.dumps(facts, indent=2, allow_nan=False) + "\n").encode())
    return facts


def _facts(
    study: Study, model: Model, among: Population, config: GroupConfig, sizes: bool,
    left_out: Sequence[Mapping[str, str]],
) -> dict[str, Any]:  # fmt: skip
    test = study.test
    found = [] if test is None else test.findings(config.q)
    groups = Counter(name for name in study.group if name)
    large = [n for n, r in study.repeats.items() if r.tem > LARGE_MM and measurement(n).unit == "mm"]
    return {
        "people": len(study.person),
        "sittings": len(study.sittings),
        "groups": dict(sorted(groups.items())),
        "compared": None if study.compared is None else list(study.compared),
        "q": config.q,
        "tests": 0 if test is None else len(test.tests),
        "findings": [
            {"region": t.region, "kind": t.kind, "difference_mm": t.difference_mm, "p": t.p, "q": t.q} for t in found
        ],
        "found_vertices": 0 if test is None else int(test.found_vertices().sum()),
        "untested": [] if test is None else list(test.untested),
        "explained": [round(float(k), 4) for k in study.components.explained[:10]],
        "measured_fraction": round(float(study.measured[:, study.common].mean()), 4),
        "repeated_people": max((r.people for r in study.repeats.values()), default=0),
        "tem_above_1_mm": large,
        "measurements": {name: _by_group(study, name, among) for name in study.observations[0].measurements},
        "left_out": [dict(k) for k in left_out],
        "model": model.name,
        "model_hash": model.hash,
        "seed": config.seed,
        "permutations": config.permutations,
        "method": _method(study, model, config, sizes),
        "warnings": _warnings(study, config, left_out),
    }


def _by_group(study: Study, name: str, among: Population) -> dict[str, dict[str, float | None]]:
    """Mean and standard deviation of people, where the scans show the measurement; and the mean's z."""
    rows: dict[str, dict[str, float | None]] = {}
    values: list[float] = []
    groups: list[str] = []
    assumed = any(k.scale_assumed for k in study.observations)
    for person, group in zip(study.person, study.group):
        seen = [study.observations[k] for k in study.rows_of(person) if study.observations[k].seen[name]]
        if seen:
            values.append(float(np.mean([k.measurements[name] for k in seen])))
            groups.append(group)
    for group in ("all", *sorted({g for g in study.group if g})):
        own = np.array([v for v, g in zip(values, groups) if group in ("all", g)])
        mean = float(own.mean()) if len(own) else None
        rows[group] = {
            "people": len(own),
            "mean": mean,
            "sd": float(own.std(ddof=1)) if len(own) > 1 else None,
            "z_model": None if mean is None else among.z_scores({name: mean}, scale_assumed=assumed).get(name),
        }
    return rows


def _warnings(study: Study, config: GroupConfig, left_out: Sequence[Mapping[str, str]]) -> list[str]:
    found = []
    if left_out:
        found.append(f"{len(left_out)} files could not be used; the end of this page says why")
    assumed = sum(k.scale_assumed for k in study.observations)
    if assumed:
        found.append(f"{assumed} of {len(study.observations)} sittings: {ASSUMED_SCALE}")
    groups = sorted({name for name in study.group if name})
    if study.compared is None and len(groups) > 2:
        found.append(f"{len(groups)} groups are not compared ({', '.join(groups)}); name two of them: --groups A,B")
    for group, count in sorted(Counter(study.group).items()):
        if study.compared is not None and group in study.compared and count < _FEW:
            found.append(f"{group} has {count} people: only large differences can be found")
    if study.test is not None and not study.test.tests:
        found.append(f"no region could be tested: each needs the scans of {LEAST_PEOPLE} people in both groups")
    if study.test is not None and study.test.tests:
        # with every person of a group apart from the other, this is the smallest p that there can be
        fewest = min(2.0 / comb(sum(t.people), min(t.people)) for t in study.test.tests)
        if max(fewest, 1.0 / (1 + config.permutations)) > config.q / len(study.test.tests):
            found.append(
                "the groups, or the permutations, are too few: a single difference cannot be found, however large"
            )
    return found


def _method(study: Study, model: Model, config: GroupConfig, sizes: bool) -> str:
    text = (
        f"Heads by model {model.name} ({model.hash}), {len(study.surface.region)} corresponding vertices, neutral. "
        f"Generalised Procrustes analysis over {int(study.common.sum())} vertices of the head that the scans of at "
        f"least half of the people show, {'sizes kept' if sizes else 'all at one size'}. "
    )
    if study.test is not None and study.test.tests:
        text += (
            "Each region is tested on its own shape and on its place, by Hotelling's T² of its principal components "
            f"above a floor of {config.floor_mm:g} mm and {config.permutations} permutations, seed {config.seed}; "
            f"Benjamini and Hochberg's procedure over {len(study.test.tests)} tests at {config.q:g}. "
            f"Vertices are tested inside the regions that were found, at {study.test.vertex_level:.2g}. "
        )
    return text + "A person's sittings are averaged. Values that a scan does not show are left out of every mean."
