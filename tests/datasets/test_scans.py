"""Scanned people in a data set: whole people, their own surfaces, and what may be said of them."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead.curation.store import Record, write_record
from imhead.datasets.curated import CuratedPeople
from imhead.datasets.dataset import DataSet, build_dataset, open_dataset
from imhead.datasets.heads import OpenSources
from imhead.datasets.manifest import MANIFEST
from imhead.datasets.recipe import MOST_REPEATS, Recipe, shuffled_sources
from imhead.errors import InputError
from imhead.io.atomic import write_atomically
from imhead.sources.ict import IctModel
from imhead.sources.scans import ScannedPerson, scan_source
from imhead.surfaces.distances import point_to_surface
from imhead.surfaces.properties import face_normals, is_closed
from imhead.surfaces.sampling import sample_surface
from imhead.template.topology import load_topology
from imhead.training.population import TrainingHeads
from imhead.training.samples import face_density, head_samples
from imhead.types import FloatArray, Mesh

SMILE = np.zeros(52, dtype=np.float32)
SMILE[[23, 24]] = 0.8
PEOPLE = {"1" * 16: "train", "2" * 16: "train", "3" * 16: "heldout"}


def vertices(ict: IctModel, key: str, weights: FloatArray) -> FloatArray:
    drawn = np.random.default_rng(int(key[:4])).normal(size=100)
    head = ict.mean + ict.identity_offsets(drawn) + ict.expression_offsets(weights)
    return load_topology().place(head).astype(np.float32)


@pytest.fixture(scope="module")
def curated(ict: IctModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people, each scanned neutral and smiling; points lie 0.3 mm over the registered surface, on its left."""
    out = tmp_path_factory.mktemp("curated")
    write_atomically(
        out / "topology.safetensors", (resources.files("imhead") / "assets/topology.safetensors").read_bytes()
    )
    faces = load_topology().faces
    for key, split in PEOPLE.items():
        shown = [vertices(ict, key, weights) for weights in (0 * SMILE, SMILE)]
        points, normals = [], []
        for mesh in (Mesh(k, faces) for k in shown):
            drawn, face = sample_surface(mesh, 30_000, seed=0)
            normal = face_normals(mesh)[face]
            left = drawn[:, 0] > 0.0
            points.append(drawn[left] + 0.3 * normal[left])
            normals.append(normal[left])
        arrays = {
            "neutral": shown[0], "weights": np.stack([0 * SMILE, SMILE]), "vertices": np.stack(shown),
            "measured": np.stack([k[:, 0] > 0.0 for k in shown]).astype(np.uint8),
            "counts": np.array([len(k) for k in points]), "points": np.concatenate(points).astype(np.float32),
            "normals": np.concatenate(normals).astype(np.float32),
        }  # fmt: skip
        notes = [{"digest": f"{key[0]}{k}", "consent": "signed", "licence": "internal", "split": split} for k in "ab"]
        write_record(out / "people" / f"{key}.safetensors", "mark", Record(arrays, {"model": "m", "scans": notes}))
    return out


@pytest.fixture(scope="module")
def data(curated: Path, ict: IctModel, tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    folder = tmp_path_factory.mktemp("set") / "set"
    recipe = Recipe({"ict": 0.5, "scans": 0.5}, 12, expressions=4, validation=0.0, heldout=0.2)
    build_dataset(recipe, OpenSources(ict), folder, CuratedPeople(curated))
    return open_dataset(folder)


def test_the_topology_is_closed_and_carries_heads_to_icts(ict: IctModel, curated: Path) -> None:
    source = scan_source(ict, curated / "topology.safetensors")
    assert is_closed(Mesh(source.mean, source.skin_faces)) and is_closed(Mesh(source.mean, source.eye_faces))
    assert np.array_equal(source.on_ict(source.mean), ict.mean)
    drawn = ict.mean + ict.identity_offsets(np.random.default_rng(3).normal(size=100))
    carried = source.on_ict(source.closed(load_topology().place(drawn)))
    assert np.percentile(np.linalg.norm(carried - drawn, axis=1), 95) < 0.4


def test_held_out_are_people_and_never_scans(data: DataSet) -> None:
    split_of: dict[str, set[str]] = {}
    for identity in data.identities:
        if isinstance(identity.shape, ScannedPerson):
            split_of.setdefault(identity.shape.key, set()).add(identity.split)
    assert split_of == {key: {split} for key, split in PEOPLE.items()}


def test_the_manifest_says_consent_licence_and_hash_and_no_name(data: DataSet) -> None:
    people = data.manifest.source("scans").people
    assert people is not None and set(people) == set(PEOPLE)
    assert people["1" * 16]["scans"][0] == {
        "digest": "1a", "consent": "signed", "licence": "internal", "split": "train",
    }  # fmt: skip


def test_half_of_the_expressions_of_a_scanned_person_are_those_of_its_scans(data: DataSet) -> None:
    for identity in data.identities:
        if isinstance(identity.shape, ScannedPerson):
            rows = data.expressions[identity.index]
            assert not rows[0].any()
            assert all(identity.shape.scan_with(row) is not None for row in rows[1::2])


def test_a_scanned_person_is_not_deformed_and_lies_where_it_was_scanned(data: DataSet, ict: IctModel) -> None:
    identity = next(k for k in data.identities if k.source == "scans")
    assert data.deformation(identity) is None and isinstance(identity.shape, ScannedPerson)
    head = OpenSources(ict).head(identity.shape)
    scan = identity.shape.vertices(1)
    skin = load_topology().part < 2
    away = np.linalg.norm(head.posed(SMILE)[: len(scan)] - scan, axis=1)[skin]
    assert np.percentile(away, 95) < 0.05  # lids are laid on the eyeballs
    assert np.linalg.norm(head.posed(0.5 * SMILE)[: len(scan)] - scan, axis=1).max() > 1.0


def test_surface_samples_are_the_measured_points_where_there_are_some(data: DataSet, ict: IctModel) -> None:
    identity = next(k for k in data.identities if k.source == "scans")
    head = OpenSources(ict).head(identity.shape)
    posed = head.posed(SMILE)
    found = head_samples(
        head, face_density(head.source), posed, 2000, np.random.default_rng(0), measured=head.measured(SMILE)
    )
    surface = found.points[found.distance == 0.0][:800]
    away = point_to_surface(surface, Mesh(posed, head.source.skin_faces))[0]
    left, right = surface[:, 0] > 5.0, surface[:, 0] < -5.0
    assert abs(np.median(away[left]) - 0.3) < 0.05 and np.median(away[right]) < 0.01
    assert left.sum() > 1.4 * right.sum()  # more samples where the head was measured


def test_in_the_canonical_pose_the_measured_points_are_carried_along(data: DataSet, ict: IctModel) -> None:
    identity = next(k for k in data.identities if k.source == "scans")
    head = OpenSources(ict).head(identity.shape)
    seen = head.measured(None)
    assert seen is not None and head.measured(0.5 * SMILE) is None
    away = point_to_surface(seen.points.astype(np.float64), Mesh(head.canonical, head.source.skin_faces))[0]
    assert abs(np.median(away) - 0.3) < 0.05


def test_a_model_may_be_trained_on_them(data: DataSet, ict: IctModel) -> None:
    heads = TrainingHeads(data, OpenSources(ict))
    of_scans = [identity.source == "scans" for identity in heads.identities]
    assert not (heads.of_ict & of_scans).any() and any(of_scans)
    assert heads.offsets().shape == (heads.count, len(ict.mean), 3)


def test_scans_without_people_are_refused(ict: IctModel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no curated scans"):
        CuratedPeople(tmp_path)
    with pytest.raises(InputError, match="curated folder"):
        build_dataset(Recipe({"scans": 1.0}, 4), OpenSources(ict), tmp_path / "set")


def test_a_missing_file_of_a_person_is_named(data: DataSet, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in (MANIFEST, "identities.safetensors", "expressions.safetensors", "topology.safetensors"):
        (copy / name).write_bytes((data.folder / name).read_bytes())
    with pytest.raises(InputError, match="is missing"):
        open_dataset(copy)


def test_a_manifest_cannot_lead_to_files_elsewhere(data: DataSet, tmp_path: Path) -> None:
    value = json.loads((data.folder / MANIFEST).read_text())
    value["files"]["people/../../secret.safetensors"] = "0" * 64
    (tmp_path / MANIFEST).write_text(json.dumps(value))
    with pytest.raises(InputError, match="does not name the files of a data set"):
        open_dataset(tmp_path)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 300), st.integers(0, 40), st.floats(0.01, 10.0), st.booleans())
def test_every_person_is_taken_and_none_too_often(count: int, people: int, share: float, alone: bool) -> None:
    shares = {"scans": share} | ({} if alone else {"ict": 1.0})
    names = shuffled_sources(shares, count, np.random.default_rng(0), people)
    assert people <= names.count("scans") <= MOST_REPEATS * people
    if not alone:
        assert len(names) == max(count, people)
