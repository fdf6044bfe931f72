"""A small model as the studio needs it: in a file, with a template beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from imhead.checkpoint import Model, load_model, save_model
from imhead.studio.state.commands.library import RandomHead
from imhead.studio.state.studio import Studio
from imhead.template.surface import save_template, template_of, template_path


@pytest.fixture(scope="session")
def model(random_model: Callable[..., Model], tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A small model with random weights and the topology of the shipped template. No test may change it."""
    small, path = random_model(), tmp_path_factory.mktemp("model") / "small.safetensors"
    save_model(small.net, path, small.name, {})
    opened = load_model(path)
    shipped = template_of(load_model())
    size = opened.net.config.region_code_size
    save_template(replace(shipped, model_hash=opened.hash, basis=shipped.basis[:, :size]), template_path(path))
    return opened


@pytest.fixture(scope="session")
def shipped() -> Model:
    """The model that ships. No test may change it."""
    return load_model()


@pytest.fixture
def opened(shipped: Model) -> Studio:
    """A studio of the model that ships: a drawn head, its nose selected."""
    made = Studio(shipped)
    made.do(RandomHead(3))
    made.select("nose")
    return made
