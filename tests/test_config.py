"""Configurations: what ships is valid, survives JSON, and a misspelt setting is refused rather than ignored."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from imhead.errors import InputError
from imhead.model.config import ModelConfig, model_config_from_dict, to_dict
from imhead.training.config import PRESETS, LossWeights, TrainConfig, train_config_from_dict

PRESET_NAMES = sorted(PRESETS)


def through_json(config: Any) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(json.dumps(to_dict(config)))
    return values


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_every_preset_parses_and_comes_back_from_json_as_it_was(name: str) -> None:
    assert train_config_from_dict(through_json(PRESETS[name])) == PRESETS[name]


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_the_network_of_every_preset_comes_back_from_json_as_it_was(name: str) -> None:
    network = PRESETS[name].model
    assert model_config_from_dict(through_json(network)) == network


def test_the_default_and_the_paper_preset_differ_in_their_blend() -> None:
    assert PRESETS["default"].model.blend == "local"
    assert PRESETS["paper"].model == dataclasses.replace(PRESETS["default"].model, blend="paper")


def test_settings_that_are_left_out_keep_their_defaults() -> None:
    assert train_config_from_dict({}) == TrainConfig()
    assert train_config_from_dict({"steps": 7, "model": {"blend": "paper"}}) == TrainConfig(
        steps=7, model=ModelConfig(blend="paper")
    )


@pytest.mark.parametrize(
    ("values", "owner"),
    [
        ({"stepz": 7}, "TrainConfig"),
        ({"model": {"local_widht": 64}}, "ModelConfig"),
        ({"loss": {"eikonl": 0.1}}, "LossWeights"),
    ],
)
def test_an_unknown_setting_is_refused_by_name(values: dict[str, Any], owner: str) -> None:
    with pytest.raises(InputError, match=owner) as refusal:
        train_config_from_dict(values)
    misspelt = next(iter(values)) if owner == "TrainConfig" else next(iter(next(iter(values.values()))))
    assert misspelt in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_network_config_with_a_missing_or_an_extra_setting_is_refused() -> None:
    whole = through_json(ModelConfig())
    with pytest.raises(InputError, match="wings"):
        model_config_from_dict({**whole, "wings": 2})
    del whole["fusion_width"]
    with pytest.raises(InputError, match="fusion_width"):
        model_config_from_dict(whole)


@pytest.mark.parametrize(
    "setting",
    [
        {"identity_size": 0},
        {"local_width": -4},
        {"local_hidden": 5000},
        {"feature_size": True},
        {"fusion_width": "64"},
        {"softmax_sigma_mm": float("nan")},
        {"blend": "nearest"},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_a_network_size_that_makes_no_sense_is_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(setting))):
        ModelConfig(**setting)


@pytest.mark.parametrize(
    "setting",
    [{"identities": 1}, {"steps": 0}, {"batch_heads": 1}, {"batch_points": 2}, {"gradient_fraction": 0.0},
     {"gradient_fraction": 1.5}, {"code_start": -0.1}, {"code_start": 2.0}],
    ids=str,
)  # fmt: skip
def test_a_training_run_that_cannot_be_run_is_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(setting))):
        TrainConfig(**setting)


@pytest.mark.parametrize("kind", [ModelConfig, LossWeights, TrainConfig])
def test_a_config_cannot_be_changed_after_it_was_made(kind: type[Any]) -> None:
    config = kind()
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, dataclasses.fields(config)[0].name, 1)
