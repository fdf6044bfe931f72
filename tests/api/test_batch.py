"""Many scans: where each goes, and what is told of it."""

from __future__ import annotations

from pathlib import Path, PurePath

from hypothesis import given, settings
from hypothesis import strategies as st

from imhead.api.batch import folder_names, unique_scans

PART = st.sampled_from(["a", "b", "scan", "p01", "p02", "scan.obj", "summary.csv"])
FILE = st.builds("".join, st.tuples(PART, st.sampled_from([".ply", ".obj", "", ".csv.ply"])))
SCANS = st.lists(
    st.builds(lambda folders, file: Path("/", *folders, file), st.lists(PART, max_size=3), FILE),
    min_size=1, max_size=12, unique=True,
)  # fmt: skip


def test_scans_of_the_same_name_go_to_folders_named_after_theirs() -> None:
    scans = [Path("p01/scan.obj"), Path("p02/scan.obj"), Path("other/head.ply")]
    assert folder_names(scans) == [PurePath("p01/scan"), PurePath("p02/scan"), PurePath("head")]


def test_a_scan_alone_is_named_after_its_file() -> None:
    assert folder_names([Path("deep/down/scan.obj")]) == [PurePath("scan")]


def test_as_many_folders_as_tell_two_scans_apart() -> None:
    scans = [Path("a/day1/scan.ply"), Path("b/day1/scan.ply"), Path("b/day2/scan.ply")]
    assert folder_names(scans) == [PurePath("a/day1/scan"), PurePath("b/day1/scan"), PurePath("day2/scan")]


def test_two_files_that_differ_in_their_endings_keep_them() -> None:
    assert folder_names([Path("p/scan.obj"), Path("p/scan.ply")]) == [PurePath("scan.obj"), PurePath("scan.ply")]


def test_a_path_upwards_does_not_lead_out_of_the_results() -> None:
    names = folder_names([Path("../../x/scan.ply"), Path("../y/scan.ply"), Path("..")])
    assert all(".." not in name.parts and not name.is_absolute() for name in names)


@settings(deadline=None)
@given(SCANS)
def test_names_are_unique_and_stay_within_the_results(scans: list[Path]) -> None:
    names = folder_names(scans)
    assert len(set(names)) == len(scans)
    assert all(name.parts and not name.is_absolute() and ".." not in name.parts for name in names)
    assert PurePath("summary.csv") not in names
    for scan, name in zip(scans, names):
        assert name.name in (scan.stem, scan.name)


@settings(deadline=None)
@given(SCANS)
def test_the_order_of_the_scans_does_not_change_their_names(scans: list[Path]) -> None:
    names = dict(zip(scans, folder_names(scans)))
    assert dict(zip(scans[::-1], folder_names(scans[::-1]))) == names


def test_a_scan_that_is_named_twice_is_fitted_once() -> None:
    assert unique_scans([Path("b.ply"), Path("a.ply"), Path("./b.ply")]) == [Path("b.ply"), Path("a.ply")]
