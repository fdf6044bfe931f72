"""A head's own colours on disk, and through edits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from imhead import editing
from imhead.checkpoint import Model, load_head, save_head
from imhead.io.skin_files import lost_skin, skin_names
from imhead.regions import REGIONS
from imhead.types import SkinImage

SKIN = SkinImage(b"\xff\xd8 picture", b"mask", "olive", "green")


def test_a_head_file_names_its_colours_and_an_edit_takes_them_along(model: Model, tmp_path: Path) -> None:
    save_head(replace(model.neutral(), skin=SKIN), tmp_path / "head.safetensors")
    head = load_head(tmp_path / "head.safetensors", model)
    edited = editing.sample(model, head, [REGIONS[12]], 1, 1.0, False)
    other = tmp_path / "edited"
    other.mkdir()
    save_head(edited, other / "wider.safetensors")
    found = load_head(other / "wider.safetensors", model).skin
    assert found is not None
    assert (found.picture, found.mask, found.tone, found.eyes) == (SKIN.picture, SKIN.mask, "olive", "green")
    assert {path.name for path in other.iterdir()} == {"wider.safetensors", *skin_names(SKIN.digest)}


def test_a_head_without_its_colours_opens_and_says_which_files_are_missing(model: Model, tmp_path: Path) -> None:
    save_head(replace(model.neutral(), skin=SKIN), tmp_path / "head.safetensors")
    (tmp_path / skin_names(SKIN.digest)[0]).unlink()
    head = load_head(tmp_path / "head.safetensors", model)
    assert head.skin is None and skin_names(SKIN.digest)[0] in lost_skin(head.lost_skin)
    save_head(head, tmp_path / "again.safetensors")  # the name is not forgotten
    assert load_head(tmp_path / "again.safetensors", model).lost_skin == SKIN.digest
