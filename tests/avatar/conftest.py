"""The mean head's template with the shapes of the tests' source: what an avatar is made of, without a model."""

from __future__ import annotations

import numpy as np
import pytest

from imhead.avatar.avatar import PosedTemplate
from imhead.avatar.parts import Parts, load_parts
from imhead.sources.ict import IctModel
from imhead.template.topology import Topology, load_topology


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
