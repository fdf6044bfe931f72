"""A folder of scans from raw files to people, in this process and in others."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from imhead.api.curation import Curation, curate
from imhead.api.curation_steps import Run
from imhead.api.models import MorphableModel
from imhead.checkpoint import Model, load_model
from imhead.curation.config import CurationConfig
from imhead.curation.inputs import RawScan
from imhead.datasets.curated import CuratedPeople
from imhead.encoding.encoder import encoder_path
from imhead.fitting.config import FitConfig
from imhead.io.mesh_file import write_mesh
from imhead.io.scan_file import read_scan
from imhead.template.surface import template_path
from imhead.types import Mesh

DEMO_SCAN = Path(__file__).resolve().parents[2] / "src" / "imhead" / "assets" / "demo_scan.ply"
QUICK = CurationConfig(fit=FitConfig(points=1200, early_points=500, detail=False, resolution=64), turns=0)


@pytest.fixture(scope="module")
def shipped() -> Model:
    return load_model("default")


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scan that ships, the same file under another name, a wall, and no scan."""
    folder = tmp_path_factory.mktemp("curate") / "scans"
    demo = read_scan(DEMO_SCAN)
    assert demo.faces is not None
    write_mesh(Mesh(demo.points, demo.faces), folder / "anna" / "neutral.ply")
    (folder / "eve").mkdir()
    (folder / "eve" / "neutral.ply").write_bytes((folder / "anna" / "neutral.ply").read_bytes())
    grid = np.stack(np.meshgrid(np.arange(30.0), np.arange(30.0)), axis=-1).reshape(-1, 2) * 8.0
    np.savetxt(folder / "wall.xyz", np.column_stack([grid, np.random.default_rng(0).normal(0.0, 0.1, len(grid))]))
    (folder / "broken.ply").write_bytes(b"ply\nformat ascii 1.0\n")
    return folder


@pytest.fixture(scope="module")
def curated(scans: Path, shipped: Model) -> Curation:
    return curate(scans, scans.parent / "curated", shipped, config=QUICK)


def table(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "summary.csv").open(newline="") as lines:
        return {row["file"]: row for row in csv.DictReader(lines)}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_scan_has_a_status_and_each_refusal_a_reason(curated: Curation) -> None:
    rows = table(curated.folder)
    assert {file: row["status"] for file, row in rows.items() if row["status"] != "refused"} == {
        "anna/neutral.ply": "accepted"
    }
    kinds = {file: row["reason"].partition(":")[0] for file, row in rows.items() if row["reason"]}
    assert kinds == {"broken.ply": "unreadable", "eve/neutral.ply": "duplicate", "wall.xyz": "no_head"}
    assert "under the name anna" in rows["eve/neutral.ply"]["reason"]


def test_a_refusal_has_a_sentence_and_a_picture_in_the_folder_of_its_scan(curated: Curation) -> None:
    rows = table(curated.folder).values()
    folders = {row["file"]: next((curated.folder / "scans" / row["scan"]).iterdir()) for row in rows}
    problem = json.loads((folders["wall.xyz"] / "problem.json").read_text())
    assert problem["kind"] == "no_head" and problem["reason"]
    assert (folders["wall.xyz"] / "problem.png").read_bytes().startswith(b"\x89PNG")
    assert not (folders["anna/neutral.ply"] / "problem.json").exists()


def test_the_sheet_shows_every_file(curated: Curation) -> None:
    page = (curated.folder / "index.html").read_text()
    assert all(f"{file}" in page for file in table(curated.folder))


def test_a_second_run_does_nothing_again_and_leaves_the_same_bytes(
    curated: Curation, scans: Path, shipped: Model
) -> None:
    before = contents(curated.folder)
    done: list[str] = []
    curate(scans, curated.folder, shipped, config=QUICK, progress=lambda what, k, total: done.append(what))
    assert done == [] and contents(curated.folder) == before


def test_an_encoder_or_a_template_that_was_trained_anew_makes_the_work_anew(shipped: Model, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model, raw = replace(shipped, path=path), RawScan(tmp_path / "a.ply", "a.ply", "0" * 16, "anna")
    template_path(path).write_bytes(b"one")
    before = Run.of(model, tmp_path, QUICK)
    encoder_path(path).write_bytes(b"one")
    assert Run.of(model, tmp_path, QUICK).found_mark(raw) != before.found_mark(raw)
    template_path(path).write_bytes(b"two")
    assert Run.of(model, tmp_path, QUICK).template != before.template


def test_what_a_person_decides_counts_in_the_next_run(curated: Curation, scans: Path, shipped: Model) -> None:
    digest = table(curated.folder)["anna/neutral.ply"]["scan"]
    path = curated.folder / "decisions.csv"
    empty = path.read_bytes()
    path.write_bytes(empty + f"{digest},reject,eyes shut,\n".encode())
    try:
        again = curate(scans, curated.folder, shipped, config=QUICK)
        assert table(curated.folder)["anna/neutral.ply"]["reason"] == "rejected: by a person: eyes shut"
        assert not again.accepted and not list((curated.folder / "people").iterdir())
    finally:
        path.write_bytes(empty)
        curate(scans, curated.folder, shipped, config=QUICK)
    assert table(curated.folder)["anna/neutral.ply"]["status"] == "accepted"


def test_a_curated_person_can_be_learnt_from(curated: Curation) -> None:
    people = CuratedPeople(curated.folder)
    (entry,) = people.entries().values()
    assert [set(scan) for scan in entry["scans"]] == [{"digest", "expression"}]
    (person,) = (person for split in ("train", "validation", "heldout") for person in people.of_split(split))
    seen = person.measured(0)
    assert person.neutral.shape == (14_351, 3) and len(seen.points) > 1000 and 0.1 < seen.seen.mean() < 1.0


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_with_the_bytes_of_one_that_was_not(
    curated: Curation, scans: Path, tmp_path: Path
) -> None:
    script = (
        "import sys; from pathlib import Path; from imhead.api.curation import curate; from imhead.checkpoint import "
        "load_model; from tests_config import QUICK; "
        "curate(Path(sys.argv[1]), Path(sys.argv[2]), load_model('default'), config=QUICK, jobs=2)"
    )
    (tmp_path / "tests_config.py").write_text(
        "from imhead.curation.config import CurationConfig\nfrom imhead.fitting.config import FitConfig\n"
        "QUICK = CurationConfig(fit=FitConfig(points=1200, early_points=500, detail=False, resolution=64), turns=0)\n"
    )
    out = tmp_path / "out"
    words = [sys.executable, "-c", script, str(scans), str(out)]
    draw = random.Random(0)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    for _ in range(4):
        driver = subprocess.Popen(words, env=environment, start_new_session=True)
        time.sleep(draw.uniform(4.0, 25.0))
        if driver.poll() is None:
            os.kill(driver.pid, signal.SIGKILL)  # its workers end by themselves
            driver.wait()
    assert subprocess.run(words, env=environment, check=False).returncode == 0
    wanted, found = contents(curated.folder), contents(out)
    left = {name for name in found if Path(name).name.startswith(".imhead-")}  # of writes that were cut short
    assert {name: found[name] for name in found if name not in left} == wanted


@pytest.mark.slow
def test_walls_inside_a_head_as_a_ct_shows_them_do_not_count_against_its_face(shipped: Model, tmp_path: Path) -> None:
    head = MorphableModel(shipped).sample(seed=5)[0].mesh(surface="template")
    ball = trimesh.creation.icosphere(subdivisions=4, radius=30.0)
    points = np.concatenate([head.vertices, ball.vertices + [0.0, -10.0, 45.0]])
    faces = np.concatenate([head.faces, np.asarray(ball.faces) + len(head.vertices)])
    write_mesh(Mesh(points, faces), tmp_path / "scans" / "anna" / "neutral.ply")
    found = curate(tmp_path / "scans", tmp_path / "curated", shipped, config=QUICK)
    (entry,) = found.entries
    assert entry.placed is not None and entry.placed["face_unexplained"] < 0.05, entry.verdict
    assert entry.verdict.accepted, entry.verdict
