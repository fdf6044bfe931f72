"""Who is in a cohort: folders, tables, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from imhead.cohort.people import Sitting, read_sittings, sitting_names
from imhead.errors import InputError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_each_folder_is_a_person_and_several_files_are_repeats(tmp_path: Path) -> None:
    touch(tmp_path, "anna/one.ply", "anna/two.obj", "anna/notes.txt", "ben/deep/scan.stl", "carla.ply", ".hidden/a.ply")
    found = read_sittings(tmp_path)
    assert [(s.person, s.path.name) for s in found] == [
        ("anna", "one.ply"), ("anna", "two.obj"), ("ben", "scan.stl"), ("carla", "carla.ply"),
    ]  # fmt: skip
    assert sitting_names(found) == ["anna_1", "anna_2", "ben", "carla"]


def test_the_folder_of_a_fit_counts_as_its_head_alone(tmp_path: Path) -> None:
    touch(tmp_path, "anna/head.safetensors", "anna/head.ply", "anna/overlay.ply", "anna/one/head.ply", "ben/x.ply")
    assert [(s.path.name, s.is_head) for s in read_sittings(tmp_path)] == [
        ("head.safetensors", True), ("x.ply", False),
    ]  # fmt: skip


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_names_files_people_and_groups(tmp_path: Path, separator: str) -> None:
    touch(tmp_path, "a.ply", "b.ply", "c.ply")
    rows = (("file", "person", "group"), ("a.ply", "anna", "before"), ("b.ply", "anna", "before"), ("c.ply", "", "x"))
    table = tmp_path / "people.csv"
    table.write_text("\n".join(separator.join(row) for row in rows) + "\n\n", encoding="utf-8-sig")
    assert read_sittings(table) == [
        Sitting("anna", "before", tmp_path / "a.ply"), Sitting("anna", "before", tmp_path / "b.ply"),
        Sitting("c", "x", tmp_path / "c.ply"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,age\na,3\n", "no column 'file'"),
        ("file\nmissing.ply\n", "line 2"),
        ("file,person,group\na.ply,anna,x\na.ply,anna,y\n", "two groups"),
        ("file\n", "names no files"),
        ("", "no column 'file'"),
        ("file,person\na.ply,\x00\n", ""),
        ("file\na.txt\n", "line 2"),
        ('file\n"unclosed', "line 2"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    touch(tmp_path, "a.ply", "a.txt")
    table = tmp_path / "people.csv"
    table.write_text(text)
    if not said:  # an odd name is a name
        assert read_sittings(table)[0].person.isprintable()
        return
    with pytest.raises(InputError, match=said) as refused:
        read_sittings(table)
    assert "\n" not in str(refused.value)


def test_nobody_and_a_table_that_is_a_scan_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no scans"):
        read_sittings(tmp_path)
    with pytest.raises(InputError, match="cannot be opened"):
        read_sittings(tmp_path / "missing.csv")
    (tmp_path / "scan.csv").write_bytes(bytes(range(256)) * 10)
    with pytest.raises(InputError, match="no text"):
        read_sittings(tmp_path / "scan.csv")


def test_names_for_files_are_plain_and_differ() -> None:
    found = sitting_names([Sitting(name, "", Path("x")) for name in ("a/b", "a b", "..", "Zoë", "a_b_1")])
    assert len(set(found)) == 5 and all("/" not in name and name.strip(".") for name in found)
    assert found[3] == "Zoë"
