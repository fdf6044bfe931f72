"""The state of a session: commands, locks, drafts, undo and redo, and projects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from imhead import editing
from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.regions import REGIONS, groups, resolve
from imhead.studio.state.commands.command import Command, Scope
from imhead.studio.state.commands.edits import BlendHeads, CopyRegions, MoveAlong, ResetRegions, SampleRegions
from imhead.studio.state.commands.expression import SetExpression
from imhead.studio.state.commands.library import AddHead, RandomHead, RemoveHead, RenameHead, ShowHead
from imhead.studio.state.document import Document
from imhead.studio.state.labels import regions_label
from imhead.studio.state.project import open_project, project_bytes
from imhead.studio.state.studio import Studio
from imhead.types import Certainty, Head, SkinImage

NOSE = groups()["nose"]
ROWS = {name: [region.index for region in resolve(name)] for name in groups()}


@pytest.fixture(scope="module")
def model(random_model: Callable[..., Model]) -> Model:
    """A small model with random weights and no template, so that no move is checked for its soundness."""
    return random_model()


@pytest.fixture
def studio(model: Model) -> Studio:
    made = Studio(model)
    made.do(RandomHead(3))
    made.select("nose")
    return made


def content(document: Document) -> list[tuple[object, ...]]:
    return [
        (one.name, one.codes.z_id.tobytes(), one.codes.z_exp.tobytes(), one.codes.offsets.tobytes(),
         one.codes.provenance, one.origin.offsets.tobytes())
        for one in document.heads
    ] + [(document.active,)]  # fmt: skip


def moved_rows(before: Head, after: Head) -> set[int]:
    return set(np.flatnonzero((before.offsets != after.offsets).any(axis=1)).tolist())


def random_command(studio: Studio, rng: np.random.Generator) -> Command:
    names = studio.document.names()
    chosen = tuple(REGIONS[k].name for k in sorted(rng.choice(len(REGIONS), 3, replace=False)))
    scope = Scope(chosen, bool(rng.integers(2)))
    weight = float(rng.random())
    made: list[Command] = [
        MoveAlong(scope, int(rng.integers(3)), float(rng.uniform(-3, 3))),
        SampleRegions(scope, int(rng.integers(1000))),
        CopyRegions(scope, str(rng.choice(names)), weight),
        ResetRegions(scope),
        SetExpression((("jawOpen", weight),)),
        ShowHead(str(rng.choice(names))),
    ]
    if len(names) < 6:
        made.append(RandomHead(int(rng.integers(1000))))
    if len(names) > 1:
        made += [RemoveHead(), BlendHeads(scope, ((names[0], weight), (names[-1], 1.0)))]
    return made[int(rng.integers(len(made)))]


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_undoing_a_thousand_random_commands_restores_the_first_document_bit_for_bit(model: Model, seed: int) -> None:
    rng = np.random.default_rng(seed)
    studio = Studio(model)
    start = content(studio.document)
    seen: dict[int, list[tuple[object, ...]]] = {studio.history.at: start}
    for _ in range(1000):
        if rng.random() < 0.2:
            studio.undo()
        elif rng.random() < 0.1:
            studio.redo()
        else:
            studio.do(random_command(studio, rng))
        assert seen.setdefault(studio.history.at, content(studio.document)) == content(studio.document)
    for _ in range(1000):
        studio.undo()
    assert content(studio.document) == start
    assert studio.history.at == 0


def test_redo_restores_what_undo_removed(studio: Studio) -> None:
    states = [content(studio.document)]
    for seed in range(5):
        studio.do(SampleRegions(studio.scope, seed))
        states.append(content(studio.document))
    for state in reversed(states[:-1]):
        studio.undo()
        assert content(studio.document) == state
    for state in states[1:]:
        studio.redo()
        assert content(studio.document) == state
    studio.redo()
    assert content(studio.document) == states[-1]


def test_a_jump_returns_to_an_undone_branch(studio: Studio) -> None:
    studio.do(SampleRegions(studio.scope, 1))
    left, state = studio.history.at, content(studio.document)
    studio.undo()
    studio.do(SampleRegions(studio.scope, 2))
    assert left not in studio.history.line()
    studio.jump(left)
    assert content(studio.document) == state
    assert left in studio.history.line()


def test_redo_after_a_jump_follows_the_branch_of_the_jump(studio: Studio) -> None:
    fork = studio.history.at
    studio.do(SampleRegions(studio.scope, 1))
    first = studio.history.at
    studio.jump(fork)
    studio.do(SampleRegions(studio.scope, 2))
    studio.jump(first)
    studio.undo()
    studio.redo()
    assert studio.history.at == first


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("chosen", ["nose", "left_ear", "mouth", "chin", "right_eye"])
def test_a_slider_moves_the_region_to_its_score(studio: Studio, chosen: str, symmetric: bool) -> None:
    studio.set_symmetric(symmetric)
    studio.select(chosen)
    regions = resolve(chosen)
    shapes = editing.shapes_of(studio.model, regions, symmetric)
    before = shapes.scores(studio.head)
    studio.do(MoveAlong(studio.scope, 1, 1.5))
    after = shapes.scores(studio.head)
    assert after[1] == pytest.approx(1.5, abs=1e-3)
    np.testing.assert_allclose(np.delete(after, 1)[:4], np.delete(before, 1)[:4], atol=1e-3)


def test_an_edit_changes_only_the_selected_regions_and_their_mirror_images(studio: Studio) -> None:
    studio.select("left_ear")
    before = studio.head
    studio.do(MoveAlong(studio.scope, 0, 2.0))
    assert moved_rows(before, studio.head) == set(ROWS["ears"])
    studio.undo()
    studio.set_symmetric(False)
    studio.do(MoveAlong(studio.scope, 0, 2.0))
    assert moved_rows(before, studio.head) == set(ROWS["left_ear"])


def test_no_command_changes_a_locked_region(studio: Studio) -> None:
    studio.set_locked(("nose_tip",), True)
    before = studio.head
    for command in (
        MoveAlong(studio.scope, 0, 2.5),
        SampleRegions(studio.scope, 4),
        CopyRegions(studio.scope, "mean head"),
        BlendHeads(studio.scope, (("mean head", 1.0), ("random 3", 1.0))),
        ResetRegions(studio.scope),
    ):
        studio.do(command)
        tip = resolve("nose_tip")[0].index
        assert studio.head.offsets[tip].tobytes() == before.offsets[tip].tobytes()
    assert moved_rows(before, studio.head) <= set(ROWS["nose"])
    studio.select("nose_tip")
    with pytest.raises(InputError, match="unlock it first"):
        studio.do(SampleRegions(studio.scope, 5))


def test_an_edit_is_not_mirrored_to_a_locked_region(studio: Studio) -> None:
    studio.set_locked(("right_ear",), True)
    studio.select("left_ear")
    before = studio.head
    studio.do(MoveAlong(studio.scope, 0, 2.0))
    assert moved_rows(before, studio.head) == set(ROWS["left_ear"])


def test_a_moving_slider_is_one_step_of_the_history(studio: Studio) -> None:
    steps = len(studio.history.steps)
    start = content(studio.document)
    for sigma in np.linspace(0.0, 2.0, 30):
        studio.draft(MoveAlong(studio.scope, 0, float(sigma)))
    shown = content(studio.document)
    assert len(studio.history.steps) == steps
    assert studio.settle() and not studio.settle()
    assert len(studio.history.steps) == steps + 1
    assert content(studio.document) == shown
    studio.undo()
    assert content(studio.document) == start


def test_undo_in_the_middle_of_a_drag_reverts_the_drag(studio: Studio) -> None:
    start = content(studio.document)
    studio.draft(MoveAlong(studio.scope, 0, 1.0))
    dragged = content(studio.document)
    studio.undo()
    assert content(studio.document) == start
    studio.redo()
    assert content(studio.document) == dragged


def test_an_invalid_draft_changes_nothing(studio: Studio) -> None:
    studio.draft(MoveAlong(studio.scope, 0, 1.0))
    shown = content(studio.document)
    with pytest.raises(InputError):
        studio.draft(MoveAlong(studio.scope, 0, float("nan")))
    assert content(studio.document) == shown


def test_a_blend_of_equal_shares_is_the_mean_of_the_codes(studio: Studio) -> None:
    from imhead.editing import region_codes

    studio.do(RandomHead(8))
    studio.set_symmetric(False)
    ends = [region_codes(studio.model, studio.document.named(name).codes) for name in ("random 3", "random 8")]
    studio.do(BlendHeads(studio.scope, (("random 3", 2.0), ("random 8", 2.0))))
    rows = ROWS["nose"]
    blended = region_codes(studio.model, studio.head)
    np.testing.assert_allclose(blended[rows], 0.5 * (ends[0] + ends[1])[rows], atol=1e-5)
    assert moved_rows(studio.before, studio.head) == set(rows)


def test_reset_brings_an_eyeball_back_and_a_locked_lid_keeps_it(studio: Studio) -> None:
    at_rest = studio.document.head.eyes
    studio.select("left_eye")
    studio.do(SampleRegions(studio.scope, 1))
    assert not np.array_equal(studio.document.head.eyes, at_rest)
    studio.do(ResetRegions(studio.scope))
    np.testing.assert_allclose(studio.document.head.eyes, at_rest, atol=1e-6)
    studio.set_locked(("left_upper_lid",), True)
    studio.do(SampleRegions(studio.scope, 1))
    np.testing.assert_allclose(studio.document.head.eyes, at_rest, atol=1e-6)


def test_reset_restores_the_head_as_it_was_added(studio: Studio) -> None:
    edited = studio.head
    studio.do(SampleRegions(studio.scope, 1))
    fitted = studio.head
    studio.do(AddHead("scan", fitted))
    studio.do(MoveAlong(studio.scope, 0, 2.0))
    studio.do(ResetRegions(studio.scope))
    assert studio.head.offsets.tobytes() == fitted.offsets.tobytes() != edited.offsets.tobytes()


def test_an_expression_does_not_change_the_identity(studio: Studio) -> None:
    before = studio.head
    studio.do(SetExpression((("jawOpen", 0.5), ("mouthSmileLeft", 0.25))))
    assert studio.head.z_id.tobytes() == before.z_id.tobytes()
    assert studio.head.offsets.tobytes() == before.offsets.tobytes()
    assert studio.head.z_exp.tobytes() != before.z_exp.tobytes()


def test_shift_click_adds_a_region_and_removes_it_again(studio: Studio) -> None:
    studio.select("chin")
    studio.select("left_jaw", add=True)
    assert studio.settings.selection == ("left_jaw", "chin")
    studio.select("left_jaw", add=True)
    assert studio.settings.selection == ("chin",)


def test_an_edit_without_a_selection_says_what_to_do(studio: Studio) -> None:
    studio.select(())
    with pytest.raises(InputError, match="click one on the head"):
        studio.do(SampleRegions(studio.scope, 0))


def test_heads_of_the_same_name_get_numbers(studio: Studio) -> None:
    studio.do(AddHead("scan\n", studio.head))
    studio.do(AddHead("scan", studio.head))
    assert studio.document.names()[-2:] == ("scan", "scan 2")


def test_the_last_head_cannot_be_removed(model: Model) -> None:
    with pytest.raises(InputError, match="only head"):
        Studio(model).do(RemoveHead())


def test_a_head_of_another_model_is_refused(studio: Studio, random_model: object) -> None:
    other: Model = random_model(seed=5)  # type: ignore[operator]
    with pytest.raises(InputError, match="was made by model"):
        studio.do(AddHead("stranger", other.neutral()))


def test_a_selection_is_called_by_its_group() -> None:
    assert regions_label(NOSE) == "nose"
    assert regions_label(tuple(region.name for region in REGIONS)) == "whole head"
    assert regions_label(("left_jaw", "chin")) == "left jaw, chin"


def test_a_project_restores_every_step_bit_for_bit(studio: Studio, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        if rng.random() < 0.3:
            studio.undo()
        else:
            studio.do(random_command(studio, rng))
    studio.set_locked(("chin",), True)
    path = tmp_path / "mine.imhead"
    path.write_bytes(project_bytes(studio))
    opened = open_project(path, studio.model)
    assert [(s.parent, s.label, content(s.document)) for s in opened.history.steps] == [
        (s.parent, s.label, content(s.document)) for s in studio.history.steps
    ]
    assert opened.history.at == studio.history.at
    assert opened.settings == studio.settings
    # the order of a safetensors file's metadata is not fixed, its content is
    saved, again = load(path.read_bytes()), load(project_bytes(opened))
    assert saved.keys() == again.keys() and all(np.array_equal(saved[name], again[name]) for name in saved)


def test_a_project_keeps_the_skin_the_certainty_and_the_registration_of_a_head(studio: Studio, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    skin = SkinImage(b"\xff\xd8 a picture", b"a mask", "tan", "green")
    sure = Certainty(
        np.full(5, 0.5), np.array([1, 0, 1, 0, 1], bool), rng.normal(size=(6, 2)), np.ones(2), 0.1, 1.96, True
    )
    moved = rng.normal(size=(5, 3)).astype(np.float32)
    head = replace(studio.head, skin=skin, certainty=sure, registration=moved, scale_assumed=True)
    studio.do(AddHead("scanned", head))
    studio.do(SetExpression((("jawOpen", 0.5),)))
    studio.do(AddHead("lost", replace(studio.model.neutral(), lost_skin="0" * 64)))
    path = tmp_path / "mine.imhead"
    path.write_bytes(project_bytes(studio))
    assert path.read_bytes().count(skin.picture) == 1, "heads share a skin"
    opened = open_project(path, studio.model)
    for named in (opened.document.named("scanned").codes, opened.document.named("scanned").origin):
        assert named.skin is not None and named.skin.digest == skin.digest
        assert (named.skin.tone, named.skin.eyes, named.lost_skin) == ("tan", "green", "")
        np.testing.assert_array_equal(named.registration, moved)
        assert named.certainty is not None and named.certainty.factor_95 == 1.96 and named.certainty.calibrated
        np.testing.assert_array_equal(named.certainty.measured, sure.measured)
        np.testing.assert_allclose(named.certainty.sigma_mm, 0.5)
    lost = opened.document.named("lost").codes
    assert (lost.skin, lost.certainty, lost.registration, lost.lost_skin) == (None, None, None, "0" * 64)
    assert opened.document.named("mean head").codes.skin is None


@pytest.mark.parametrize("body", ["[]", '{"steps": 3}', '{"skins": 5}', '{"at": Infinity}'])
def test_a_project_of_odd_content_is_refused(studio: Studio, tmp_path: Path, body: str) -> None:
    path = tmp_path / "mine.imhead"
    mark = {"format": "imhead-project-2", "model_hash": studio.model.hash, "project": body}
    path.write_bytes(save(load(project_bytes(studio)), mark))
    with pytest.raises(InputError, match=r"^mine\.imhead: "):
        open_project(path, studio.model)


def test_a_project_that_promises_a_skin_and_holds_none_is_refused(studio: Studio, tmp_path: Path) -> None:
    path = tmp_path / "mine.imhead"
    path.write_bytes(project_bytes(studio).replace(b'\\"skin\\": [-1', b'\\"skin\\": [ 3'))
    with pytest.raises(InputError, match="carries what the file does not hold"):
        open_project(path, studio.model)


def test_a_renamed_head_keeps_its_codes_and_its_name_can_be_undone(studio: Studio) -> None:
    before, name = studio.head, studio.document.current.name
    studio.do(RenameHead("  me "))
    assert studio.document.current.name == "me" and studio.head is before
    studio.do(RenameHead("mean head"))
    assert studio.document.current.name == "mean head 2", "two heads never share a name"
    studio.undo()
    studio.undo()
    assert studio.document.current.name == name
    with pytest.raises(InputError, match="needs a name"):
        studio.do(RenameHead(" "))


def test_a_step_can_be_named_and_a_project_keeps_its_name(studio: Studio, tmp_path: Path) -> None:
    studio.do(RandomHead(4))
    at = studio.history.at
    studio.history.rename(at, "before\nsurgery")
    assert (studio.history.steps[at].label, studio.history.steps[at].named) == ("before surgery", True)
    path = tmp_path / "mine.imhead"
    path.write_bytes(project_bytes(studio))
    opened = open_project(path, studio.model)
    assert [(step.label, step.named) for step in opened.history.steps] == [
        (step.label, step.named) for step in studio.history.steps
    ]
    for number, label in ((99, "x"), (at, "  ")):
        with pytest.raises(InputError):
            studio.history.rename(number, label)


def test_a_damaged_project_is_refused_in_one_line(studio: Studio, tmp_path: Path) -> None:
    good = project_bytes(studio)
    bad = {
        "cut": good[: len(good) // 2],
        "not one": b"PK\x03\x04" + bytes(100),
        "nan": save({**load(good), "z_id": np.full_like(load(good)["z_id"], np.nan)}, {"format": "imhead-project-1"}),
        "loop": good.replace(b'\\"parent\\": 0', b'\\"parent\\": 7'),
        "no head": good.replace(b'\\"active\\": 1', b'\\"active\\": 9'),
    }
    for name, data in bad.items():
        path = tmp_path / f"{name}.imhead"
        path.write_bytes(data)
        assert data != good
        with pytest.raises(InputError) as caught:
            open_project(path, studio.model)
        assert "\n" not in str(caught.value)


def test_a_project_of_another_model_is_refused(studio: Studio, random_model: object, tmp_path: Path) -> None:
    path = tmp_path / "mine.imhead"
    path.write_bytes(project_bytes(studio))
    with pytest.raises(InputError, match="start the studio with that --model"):
        open_project(path, random_model(seed=5))  # type: ignore[operator]
