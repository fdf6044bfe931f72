"""The audit, on figures: each fault has its reason, and a person has the last word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imhead.curation.audit import problems_alone, problems_of_person, rank_of, verdict
from imhead.curation.config import AuditLimits
from imhead.curation.decisions import Decision, read_decisions
from imhead.curation.inputs import RawScan
from imhead.curation.problems import PROBLEM_KINDS, Problem
from imhead.errors import InputError

LIMITS = AuditLimits()
RAW = RawScan(Path("a.ply"), "a.ply", "0" * 16, "anna")
GOOD: dict[str, Any] = {
    "problem": None, "inside_out": False, "normals_crossed": None, "scale_assumed": False, "unit_source": "likely",
    "units": "mm", "head_scale": 1.0, "agreement_mm": [0.3, 0.5], "noise_mm": 0.2, "face_mm": 0.2, "code_sigma": 1.1,
}  # fmt: skip
ON_HEAD: dict[str, Any] = {
    "found": True, "same_person": True, "evidence": {"own_mm": 0.2, "others_mm": 0.3, "excess_mm": 0.2},
    "mirror_mm": {"as_it_is": 0.3, "mirrored": 0.6}, "face_unexplained": 0.02, "face_p90_mm": 0.6, "beard_cm2": 0.0,
    "registered": {"face_measured": 0.9, "left_measured": 0.9, "right_measured": 0.9, "crossed_vertices": 0},
}  # fmt: skip


def alone(**changes: Any) -> list[str]:
    return [problem.kind for problem in problems_alone(RAW, GOOD | changes, [], LIMITS)]


def on_head(**changes: Any) -> list[str]:
    registered = {**ON_HEAD["registered"], **changes.pop("registered", {})}
    return [k.kind for k in problems_of_person({**ON_HEAD, "registered": registered, **changes}, LIMITS)]


def test_a_good_scan_has_no_problem() -> None:
    assert alone() == [] and on_head() == []
    assert 0.0 < rank_of(GOOD, ON_HEAD, LIMITS) < 1.0


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"inside_out": True}, "mirrored"),
        ({"normals_crossed": True}, "mirrored"),
        ({"scale_assumed": True}, "unit"),
        ({"head_scale": 1.4}, "unit"),
        ({"agreement_mm": [40.0, None]}, "pose"),
        ({"noise_mm": 4.0}, "surface"),
        ({"face_mm": 3.0}, "surface"),
        ({"problem": {"kind": "no_head", "sentence": "no face was found"}}, "no_head"),
    ],
)
def test_each_fault_of_a_scan_alone_has_its_reason(changes: dict[str, Any], kind: str) -> None:
    assert alone(**changes) == [kind]
    assert kind in PROBLEM_KINDS


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"same_person": False}, "stranger"),
        ({"mirror_mm": {"as_it_is": 0.9, "mirrored": 0.3}}, "mirrored"),
        ({"same_person": False, "mirror_mm": {"as_it_is": 0.9, "mirrored": 0.3}}, "mirrored"),
        ({"registered": {"face_measured": 0.4}}, "partial"),
        ({"registered": {"right_measured": 0.1}}, "partial"),
        ({"face_unexplained": 0.5}, "surface"),
        ({"registered": {"crossed_vertices": 500}}, "implausible"),
        ({"found": False}, "no_head"),
    ],
)
def test_each_fault_on_the_persons_head_has_its_reason(changes: dict[str, Any], kind: str) -> None:
    assert on_head(**changes) == [kind]


def test_a_beard_is_not_held_against_a_face() -> None:
    assert on_head(beard_cm2=40.0, face_unexplained=0.25, face_p90_mm=8.0) == []
    assert on_head(face_p90_mm=8.0) == ["surface"]


def test_a_search_that_found_the_head_again_once_is_enough() -> None:
    assert alone(agreement_mm=[40.0, 0.4]) == []


def test_a_place_that_was_not_sure_ranks_as_such_only_until_the_persons_head_is_there() -> None:
    doubted = GOOD | {"agreement_mm": [None, None]}
    assert rank_of(doubted, None, LIMITS) > 2.0 and rank_of(doubted, ON_HEAD, LIMITS) <= 1.0


def test_what_the_table_says_of_sides_and_units_is_believed() -> None:
    told = RawScan(Path("a.ply"), "a.ply", "0" * 16, "anna", mirrored=False)
    assert problems_alone(told, GOOD | {"inside_out": True}, [], LIMITS) == []
    assert problems_alone(RAW, GOOD | {"unit_source": "named", "head_scale": 0.6}, [], LIMITS) == []


def test_a_head_of_another_size_than_in_the_persons_other_scans_has_another_unit() -> None:
    found = problems_alone(RAW, GOOD | {"head_scale": 1.2}, [GOOD, GOOD], LIMITS)
    assert [problem.kind for problem in found] == ["unit"] and "1.20 of the size" in found[0].sentence


def test_a_person_has_the_last_word() -> None:
    problem = Problem("partial", "it shows 40 % of the face")
    assert verdict([problem], True, 1.5, Decision(True)).accepted
    assert not verdict([problem], False, 1.5, Decision(True)).accepted  # nothing to learn from
    rejected = verdict([], True, 0.3, Decision(False, "eyes half shut"))
    assert not rejected.accepted and rejected.reason == "rejected: by a person: eyes half shut"


def test_decisions_are_read_from_the_file_that_the_first_run_wrote(tmp_path: Path) -> None:
    assert read_decisions(tmp_path) == {}
    path = tmp_path / "decisions.csv"
    path.write_text(path.read_text() + 'aa,accept,"good, really",a.ply\nbb,reject,,b.ply\nbb,,,b.ply\n')
    assert read_decisions(tmp_path) == {"aa": Decision(True, "good, really")}
    path.write_text("scan,decision\naa,perhaps\n")
    with pytest.raises(InputError, match="line 2 says 'perhaps'"):
        read_decisions(tmp_path)
