"""The shipped model, for the benchmarks."""

from __future__ import annotations

import pytest

from imhead.checkpoint import Model, load_model


@pytest.fixture(scope="module")
def default() -> Model:
    return load_model("default", "cpu")
