"""Models and heads on disk: they come back as they were, and anything else is refused in one line."""

from __future__ import annotations

import dataclasses
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from imhead.checkpoint import Model, load_head, load_model, save_head, save_model, weights_hash
from imhead.errors import InputError
from imhead.types import Head

Change = Callable[[dict[str, torch.Tensor], dict[str, str]], None]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, model: Model) -> Path:
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    save_model(model.net, path, "small", {"data": "none", "steps": 0})
    return path


@pytest.fixture(scope="module")
def opened(saved: Path) -> Model:
    return load_model(saved)


def some_head(model: Model) -> Head:
    rng = np.random.default_rng(3)
    config = model.net.config
    return Head(
        model.name,
        model.hash,
        rng.normal(size=config.identity_size),
        rng.normal(size=config.expression_size),
        rng.normal(size=(39, config.region_code_size)),
        ("fitted to é.ply", "nose: sampled with seed 7"),
        rng.normal(size=(2, 5)),
    )


def parts(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in list(file.keys())}, dict(file.metadata())


def changed(source: Path, target: Path, change: Change) -> Path:
    tensors, metadata = parts(source)
    change(tensors, metadata)
    save_file(tensors, target, metadata)
    return target


def refusal(action: Callable[[], Any], path: Path) -> str:
    with pytest.raises(InputError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message and str(path) in message
    return message


def test_a_model_comes_back_as_it_was_saved_to_half_precision(saved: Path, opened: Model, model: Model) -> None:
    before, after = model.net.state_dict(), opened.net.state_dict()
    assert set(before) == set(after)
    learned = {name for name, _ in model.net.named_parameters()}
    for name, value in before.items():
        # places and radii, which are not learned, keep single precision
        assert torch.equal(after[name], value.half().float() if name in learned else value), name
    assert opened.net.config == model.net.config
    assert opened.name == "small" and opened.card == {"data": "none", "steps": 0}
    assert not opened.net.training and not any(p.requires_grad for p in opened.net.parameters())


def test_a_model_keeps_its_hash_however_often_it_is_saved(opened: Model, model: Model, tmp_path: Path) -> None:
    assert opened.hash == model.hash == weights_hash(opened.net.state_dict())
    again = tmp_path / "again.safetensors"
    assert save_model(opened.net, again, "small", opened.card) == opened.hash
    assert load_model(again).hash == opened.hash


def test_one_changed_weight_changes_the_hash(model: Model) -> None:
    tensors = {key: value.clone() for key, value in model.net.state_dict().items()}
    tensors["fusion_net.layers.0.weight"][0, 0] += 0.01
    assert weights_hash(tensors) != model.hash


def test_a_head_comes_back_bit_for_bit(opened: Model, tmp_path: Path) -> None:
    head = some_head(opened)
    save_head(head, tmp_path / "head.safetensors")
    again = load_head(tmp_path / "head.safetensors", opened)
    for name in ("z_id", "z_exp", "offsets", "eyes"):
        np.testing.assert_array_equal(getattr(again, name), getattr(head, name))
    assert again.provenance == head.provenance
    assert (again.model_id, again.model_hash) == (head.model_id, head.model_hash)


def test_a_head_opens_again_however_long_its_history_is(opened: Model, tmp_path: Path) -> None:
    # the length of a safetensors header is the file's first bytes; none of them may be taken for another format
    lengths = set()
    for edits in range(0, 280, 4):
        head = dataclasses.replace(some_head(opened), provenance=("x" * edits,))
        save_head(head, tmp_path / "head.safetensors")
        lengths.add((tmp_path / "head.safetensors").read_bytes()[0])
        assert load_head(tmp_path / "head.safetensors", opened).provenance == head.provenance
    assert lengths == set(range(0, 256, 8))


def test_files_are_readable_by_others_and_leave_no_temporary_behind(opened: Model, tmp_path: Path) -> None:
    save_head(some_head(opened), tmp_path / "new" / "head.safetensors")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["head.safetensors"]
    assert stat.S_IMODE((tmp_path / "new" / "head.safetensors").stat().st_mode) == 0o644


def test_a_folder_that_is_a_file_is_refused_for_writing(opened: Model, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    path = tmp_path / "taken" / "head.safetensors"
    assert "cannot be written" in refusal(lambda: save_head(some_head(opened), path), path)


def test_a_missing_file_is_refused(opened: Model, tmp_path: Path) -> None:
    path = tmp_path / "nowhere.safetensors"
    assert "no such model" in refusal(lambda: load_model(path), path)
    assert "no such head" in refusal(lambda: load_head(path, opened), path)


def test_an_empty_file_and_a_folder_are_refused(opened: Model, tmp_path: Path) -> None:
    path = tmp_path / "empty.safetensors"
    path.touch()
    assert "empty" in refusal(lambda: load_model(path), path)
    assert "empty" in refusal(lambda: load_head(path, opened), path)
    assert "folder" in refusal(lambda: load_model(tmp_path), tmp_path)


@pytest.mark.parametrize("kept", [1, 7, 8, 9, 100, -1000, -1])
def test_a_truncated_file_is_refused(saved: Path, opened: Model, tmp_path: Path, kept: int) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(saved.read_bytes()[:kept])
    assert "damaged" in refusal(lambda: load_model(path), path)
    save_head(some_head(opened), path)
    path.write_bytes(path.read_bytes()[:kept])
    assert "damaged" in refusal(lambda: load_head(path, opened), path)


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.safetensors"
    path.write_text("a line\n" * 100)
    assert "damaged or not a safetensors file" in refusal(lambda: load_model(path), path)


@pytest.mark.parametrize("old_format", [False, True])
def test_a_pickle_is_refused_unopened(tmp_path: Path, opened: Model, old_format: bool) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    path = tmp_path / "model.safetensors"
    torch.save({"weight": torch.zeros(2), "trap": Trap()}, path, _use_new_zipfile_serialization=not old_format)
    assert "can run code" in refusal(lambda: load_model(path), path)
    assert "can run code" in refusal(lambda: load_head(path, opened), path)
    assert not (tmp_path / "sprung").exists()


def test_weights_that_are_not_finite_are_refused(saved: Path, tmp_path: Path) -> None:
    for value in (float("nan"), float("inf")):

        def poison(tensors: dict[str, torch.Tensor], _: dict[str, str], value: float = value) -> None:
            tensors["decnet.weight"][0, 0, 0] = value

        path = changed(saved, tmp_path / "poisoned.safetensors", poison)
        assert "decnet.weight" in refusal(lambda path=path: load_model(path), path)


def _other_shape(tensors: dict[str, torch.Tensor], _: dict[str, str]) -> None:
    tensors["warp.arkit"] = tensors["warp.arkit"].T.contiguous()


def _other_type(tensors: dict[str, torch.Tensor], _: dict[str, str]) -> None:
    tensors["warp.arkit"] = tensors["warp.arkit"].to(torch.int32)


def _unknown(tensors: dict[str, torch.Tensor], _: dict[str, str]) -> None:
    tensors["extra.weight"] = torch.zeros(3)


def _missing(tensors: dict[str, torch.Tensor], _: dict[str, str]) -> None:
    del tensors["warp.arkit"]


def _no_format(_: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    metadata["format"] = "something-else"


def _no_config(_: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    del metadata["config"]


def _broken_config(_: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    metadata["config"] = "{"


def _config(**values: Any) -> Change:
    def change(_: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
        metadata["config"] = json.dumps({**json.loads(metadata["config"]), **values})

    return change


def _other_regions(_: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    metadata["regions"] = "0" * 16


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_other_shape, "warp.arkit"),
        (_other_type, "warp.arkit"),
        (_unknown, "extra.weight"),
        (_missing, "warp.arkit"),
        (_no_format, "not a model"),
        (_no_config, "config"),
        (_broken_config, "config"),
        (_config(surprise=1), "surprise"),
        (_config(local_width=-1), "local_width"),
        (_config(local_width=24), "local_nets"),
        (_config(local_width=16.5), "local_width"),
        (_config(local_hidden=2.0), "local_hidden"),
        (_config(local_hidden=1), "local_"),
        (_config(blend="soft"), "blend"),
        (_other_regions, "table of regions"),
    ],
)
def test_a_model_file_that_does_not_match_itself_is_refused(
    saved: Path, tmp_path: Path, change: Change, words: str
) -> None:
    path = changed(saved, tmp_path / "odd.safetensors", change)
    assert words in refusal(lambda: load_model(path), path)


def test_a_head_made_by_another_model_is_refused_and_both_are_named(
    opened: Model, random_model: Callable[..., Model], tmp_path: Path
) -> None:
    other = random_model(seed=1)
    path = tmp_path / "head.safetensors"
    save_head(some_head(other), path)
    message = refusal(lambda: load_head(path, opened), path)
    assert other.name in message and opened.name in message and "--model" in message


def test_a_model_is_not_a_head_and_a_head_is_not_a_model(saved: Path, opened: Model, tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    save_head(some_head(opened), path)
    assert "not a model" in refusal(lambda: load_model(path), path)
    assert "not a head" in refusal(lambda: load_head(saved, opened), saved)


def test_files_of_another_version_are_refused_with_what_to_do(saved: Path, opened: Model, tmp_path: Path) -> None:
    save_head(some_head(opened), tmp_path / "head.safetensors")

    def of_version(number: int) -> Change:
        def change(_: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
            metadata["format"] = f"{metadata['format'][:-1]}{number}"

        return change

    path = tmp_path / "other.safetensors"
    for number in (1, 3):
        changed(tmp_path / "head.safetensors", path, of_version(number))
        message = refusal(lambda: load_head(path, opened), path)
        assert f"another version (imhead-head-{number}, not imhead-head-2)" in message
        assert "make it again with this one, a fitted head from its scan" in message
        changed(saved, path, of_version(number))
        message = refusal(lambda: load_model(path), path)
        assert f"another version (imhead-model-{number}, not imhead-model-2)" in message and "again" in message


def _poison_offsets(tensors: dict[str, torch.Tensor], _: dict[str, str]) -> None:
    tensors["offsets"][0, 0] = torch.nan


def _short_code(tensors: dict[str, torch.Tensor], _: dict[str, str]) -> None:
    tensors["z_id"] = tensors["z_id"][:-1].clone()


def _one_eye(tensors: dict[str, torch.Tensor], _: dict[str, str]) -> None:
    tensors["eyes"] = tensors["eyes"][:1].clone()


def _no_eyes(tensors: dict[str, torch.Tensor], _: dict[str, str]) -> None:
    del tensors["eyes"]


def _poison_eyes(tensors: dict[str, torch.Tensor], _: dict[str, str]) -> None:
    tensors["eyes"][1, 3] = torch.inf


def _no_expression(tensors: dict[str, torch.Tensor], _: dict[str, str]) -> None:
    del tensors["z_exp"]


def _broken_history(_: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    metadata["provenance"] = "["


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_poison_offsets, "offsets"),
        (_short_code, "z_id"),
        (_no_expression, "z_exp"),
        (_one_eye, "eyes"),
        (_no_eyes, "eyes"),
        (_poison_eyes, "eyes"),
        (_unknown, "extra.weight"),
        (_broken_history, "provenance"),
    ],
)
def test_a_damaged_head_is_refused(opened: Model, tmp_path: Path, change: Change, words: str) -> None:
    whole = tmp_path / "whole.safetensors"
    save_head(some_head(opened), whole)
    path = changed(whole, tmp_path / "damaged.safetensors", change)
    assert words in refusal(lambda: load_head(path, opened), path)


def test_the_mean_head_belongs_to_its_model_and_has_no_codes(model: Model) -> None:
    head = model.neutral()
    assert head.model_hash == model.hash
    assert not head.z_id.any() and not head.z_exp.any() and not head.offsets.any() and not head.eyes.any()
    assert head.offsets.shape == (39, model.net.config.region_code_size)
