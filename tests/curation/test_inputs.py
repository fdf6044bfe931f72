"""Who is who: folders, the table of people, and what is wrong with it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from imhead.curation.inputs import raw_scans
from imhead.errors import InputError


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    for name in ("anna/neutral.ply", "anna/smile.ply", "ben.obj", ".hidden.ply", "anna/notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def table(folder: Path, text: str) -> Path:
    path = folder.parent / "people.csv"
    path.write_text(text)
    return path


def test_a_folder_is_a_person_and_a_file_is_an_expression(scans: Path) -> None:
    found = raw_scans(scans)
    assert [(k.file, k.person) for k in found] == [
        ("anna/neutral.ply", "anna"), ("anna/smile.ply", "anna"), ("ben.obj", "ben"),
    ]  # fmt: skip
    assert [k.notes["expression"] for k in found] == ["neutral", "smile", ""]
    assert len({k.digest for k in found}) == 3


def test_the_table_goes_before_the_folders(scans: Path) -> None:
    path = table(
        scans,
        "file,person,consent,licence,units,mirrored\nben.obj,anna,signed 2026,internal,cm,no\nanna/smile.ply,eve\n",
    )
    found = {k.file: k for k in raw_scans(scans, path)}
    assert found["ben.obj"].person == "anna" and found["anna/smile.ply"].person == "eve"
    assert found["ben.obj"].notes == {"expression": "", "consent": "signed 2026", "licence": "internal"}
    assert found["ben.obj"].units == "cm" and found["ben.obj"].mirrored is False
    assert found["anna/neutral.ply"].mirrored is None


def test_a_unit_without_a_name_is_told_in_mm_and_makes_other_results(scans: Path) -> None:
    (told,) = (k for k in raw_scans(scans, table(scans, "file,scale\nben.obj,25.4\n")) if k.file == "ben.obj")
    (plain,) = (k for k in raw_scans(scans) if k.file == "ben.obj")
    assert (told.scale, told.named) == (25.4, "units of 25.4 mm") and (plain.scale, plain.named) == (None, None)
    assert told.key != plain.key


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("person\nanna\n", "has not one column 'file'"),
        ("file,shoe\nben.obj,43\n", "unknown column 'shoe'"),
        ("file\ncarl.ply\n", "names 'carl.ply', which is not in"),
        ("file\nben.obj\nben.obj\n", "names a file twice"),
        ("file,units\nben.obj,parsec\n", "units 'parsec'"),
        ("file,scale\nben.obj,big\n", "scale 'big'"),
        ("file,scale\nben.obj,-1\n", "scale '-1'"),
        ("file,scale\nben.obj,nan\n", "scale 'nan'"),
        ("file,units,scale\nben.obj,mm,1\n", "units and a scale"),
        ("file,mirrored\nben.obj,perhaps\n", "mirrored 'perhaps'"),
        ("file,split\nben.obj,exam\n", "split 'exam'"),
        ("file,split\nanna/smile.ply,heldout\n", "held out as a whole"),
        ("file\nben.obj,1,2\n", "line 2 has too many"),
        (f"file,person\nben.obj,{'x' * 300}\n", "too long values"),
    ],
)
def test_a_wrong_table_is_refused_in_one_line(scans: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        raw_scans(scans, table(scans, text))


def test_a_folder_without_scans_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        raw_scans(tmp_path / "none")
    with pytest.raises(InputError, match="holds no scan"):
        raw_scans(tmp_path)


def test_a_file_may_lie_deep(scans: Path) -> None:
    deep = "/".join(["a folder with a long name"] * 12) + "/smile.ply"
    (scans / deep).parent.mkdir(parents=True)
    (scans / deep).write_text("deep")
    assert {k.file: k.person for k in raw_scans(scans, table(scans, f"file,person\n{deep},eve\n"))}[deep] == "eve"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_no_table_can_hold_is_refused_before_the_work(scans: Path) -> None:
    (scans / "anna" / os.fsdecode(b"l\xe4chelt.ply")).write_text("of a Latin-1 system")
    with pytest.raises(InputError, match=r"no UTF-8; rename it"):
        raw_scans(scans)
