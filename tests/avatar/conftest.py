"""The mean head's template with the shapes of the tests' source: what an avatar is made of, without a model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from imhead.avatar.avatar import PosedTemplate, avatar_scene
from imhead.avatar.look import Look
from imhead.avatar.parts import Parts, load_parts
from imhead.avatar.rig import rig_of
from imhead.avatar.skin_image import jpeg_bytes
from imhead.avatar.take import clip_of
from imhead.conventions import ARKIT_NAMES
from imhead.io.glb_scene_writer import Clip, Scene
from imhead.io.live_link import Take
from imhead.sources.ict import IctModel
from imhead.template.topology import Topology, load_topology
from imhead.types import SkinImage


@pytest.fixture(scope="session")
def topology() -> Topology:
    return load_topology()


@pytest.fixture(scope="session")
def parts() -> Parts:
    return load_parts()


@pytest.fixture(scope="session")
def mean_template(topology: Topology, parts: Parts, ict: IctModel) -> PosedTemplate:
    shapes = topology.place(ict.expressions.astype(np.float64))
    return PosedTemplate.of_vertices(topology, parts.skin, shapes)


@pytest.fixture(scope="session")
def mean_scene(mean_template: PosedTemplate, topology: Topology, parts: Parts) -> Scene:
    """Its avatar, with grey skin and without a take."""
    grey = SkinImage(jpeg_bytes(np.full((64, 64, 3), 120, dtype=np.uint8)), b"", "light")
    return avatar_scene(mean_template, topology, parts, Look(), skin=grey)


@pytest.fixture(scope="session")
def clip(mean_template: PosedTemplate, parts: Parts) -> Callable[[Take], Clip]:
    """A take as that avatar plays it."""
    jaw_open = mean_template.shapes[ARKIT_NAMES.index("jawOpen")]
    rig = rig_of(parts, mean_template.skin, mean_template.eyes, jaw_open)
    return lambda take: clip_of(take, rig, "arkit", joints=False)
