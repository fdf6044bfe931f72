"""What a fit does not explain can go with the head."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from imhead.avatar.kept import unexplained
from imhead.avatar.parts import Parts
from imhead.errors import InputError
from imhead.fitting.hair import Hair
from imhead.template.topology import SKIN, Topology
from imhead.types import Scan, ScanTexture


@pytest.fixture
def scan(topology: Topology, parts: Parts) -> Scan:
    """A cap 20 mm over the scalp, a collar 20 mm around the shoulders, and the bare face; with a picture."""
    middle = parts.skin[topology.faces].mean(axis=1)
    skin = (topology.part[topology.faces] == SKIN).all(axis=1)
    cap, collar, face = (middle[:, 1] > 95.0), (middle[:, 1] < -130.0), (np.abs(middle[:, 1] - 10.0) < 40.0)
    faces = topology.faces[skin & (cap | collar | face)]
    points = parts.skin.copy()
    points[(points[:, 1] > 90.0) | (points[:, 1] < -125.0)] *= 1.18
    used, inverse = np.unique(faces, return_inverse=True)
    picture = np.random.default_rng(0).integers(0, 255, (32, 64, 3)).astype(np.uint8)
    uv = np.random.default_rng(1).uniform(size=(len(faces), 3, 2))
    texture = ScanTexture(uv, np.zeros(len(faces)), (picture,))
    return Scan("cap", points[used], None, inverse.reshape(-1, 3), (), None, texture)


def result_of(scan: Scan, parts: Parts) -> Any:
    explained = np.abs(scan.points[:, 1] - 10.0) < 60.0
    pose = SimpleNamespace(scan_to_head=np.eye(4))
    return SimpleNamespace(scan_to_head=np.eye(4), pose=pose, hair=Hair.none(), explained=explained)


def test_a_cap_is_kept_with_its_picture_and_clothes_are_not(scan: Scan, parts: Parts) -> None:
    (piece,) = unexplained(result_of(scan, parts), scan, parts.skin)
    assert len(piece.faces) > 100 and piece.vertices[:, 1].min() > 60.0
    assert piece.uv is not None and len(piece.uv.faces) == len(piece.faces) and piece.picture is not None


def test_nothing_is_kept_where_all_is_explained(scan: Scan, parts: Parts) -> None:
    result = result_of(scan, parts)
    result.explained[:] = True
    assert unexplained(result, scan, parts.skin) == ()


def test_nothing_can_be_kept_of_a_cloud(scan: Scan, parts: Parts) -> None:
    with pytest.raises(InputError, match="as a mesh"):
        unexplained(result_of(scan, parts), Scan("cloud", scan.points), parts.skin)
