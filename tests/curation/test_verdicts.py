"""What becomes of a scan whose place was not sure, once its person's head was looked for in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imhead.curation.audit import Verdict
from imhead.curation.config import AuditLimits
from imhead.curation.inputs import RawScan
from imhead.curation.store import Record
from imhead.curation.verdicts import audited_alone, verdicts

RAW = RawScan(Path("anna/left.ply"), "anna/left.ply", "a" * 16, "anna")
OWN: dict[str, Any] = {
    "problem": None, "inside_out": False, "normals_crossed": None, "scale_assumed": False, "unit_source": "likely",
    "units": "mm", "head_scale": 1.0, "agreement_mm": [None, None], "noise_mm": 0.2, "face_mm": 0.2, "code_sigma": 1.1,
}  # fmt: skip
UNFOUND = {"problem": {"kind": "no_head", "sentence": "no face was found in the scan"}}
ON_HEAD: dict[str, Any] = {
    "found": True, "same_person": True, "evidence": {"own_mm": 0.2, "others_mm": 0.3, "excess_mm": 0.2},
    "mirror_mm": None, "face_unexplained": 0.02, "face_p90_mm": 0.6, "beard_cm2": 0.0,
    "registered": {"face_measured": 0.9, "left_measured": 0.9, "right_measured": 0.9, "crossed_vertices": 0},
}  # fmt: skip


def verdict_on(own: dict[str, Any], on_head: dict[str, Any] | None) -> Verdict:
    found = {RAW.digest: Record({"print": np.arange(4.0)}, own)}
    alone, same = audited_alone([RAW], found, AuditLimits())
    placed = {} if on_head is None else {RAW.digest: Record({}, on_head)}
    (entry,) = verdicts([RAW], found, placed, alone, same, {}, AuditLimits())
    return entry.verdict


@pytest.mark.parametrize("own", [OWN, UNFOUND], ids=["found once", "not found"])
def test_it_is_accepted_where_the_persons_head_explains_it(own: dict[str, Any]) -> None:
    assert verdict_on(own, ON_HEAD).accepted


@pytest.mark.parametrize(("own", "kind"), [(OWN, "pose"), (UNFOUND, "no_head")], ids=["found once", "not found"])
def test_it_keeps_its_own_reason_where_the_persons_head_does_not(own: dict[str, Any], kind: str) -> None:
    for on_head in ({"found": False, "mirror_mm": None}, None):
        assert verdict_on(own, on_head).reason.startswith(kind)


def test_what_else_speaks_against_it_still_counts() -> None:
    assert verdict_on(OWN | {"noise_mm": 4.0}, ON_HEAD).reason.startswith("surface")
    assert verdict_on(OWN, ON_HEAD | {"face_unexplained": 0.6}).reason.startswith("surface")
