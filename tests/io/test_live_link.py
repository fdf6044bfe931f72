"""Takes in the layout of Live Link Face: written and read again, and read from files that others wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead.conventions import ARKIT_NAMES
from imhead.errors import InputError
from imhead.io.live_link import ANGLE_NAMES, Take, read_take, take_bytes, write_take


def a_take(count: int, seed: int = 0, rate: float = 60.0) -> Take:
    rng = np.random.default_rng(seed)
    return Take(np.arange(count) / rate, rng.random((count, 52)), rng.normal(0.0, 0.3, (count, 9)))


def lines_of(take: Take, rate: float = 60.0) -> list[str]:
    return take_bytes(take, rate).decode().splitlines()


@settings(deadline=None, max_examples=25)
@given(count=st.integers(1, 200), seed=st.integers(0, 1000), rate=st.sampled_from([24.0, 29.97, 30.0, 60.0, 120.0]))
def test_a_take_that_was_written_reads_as_it_was(
    count: int, seed: int, rate: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("takes") / "take.csv"
    take = a_take(count, seed, rate)
    write_take(take, path, rate)
    again = read_take(path, frames_per_second=rate)
    np.testing.assert_allclose(again.weights, take.weights, atol=1e-9)
    np.testing.assert_allclose(again.angles, take.angles, atol=1e-9)
    assert again.warnings == ()
    if rate == round(rate):  # a timecode of whole frame numbers cannot keep a rate that is none
        np.testing.assert_allclose(again.seconds, take.seconds, atol=1e-3 / rate)


def test_a_recorded_take_is_read_whole(shared: Path) -> None:
    path = shared / "takes" / "live_link_face.csv"
    if not path.is_file():
        pytest.skip("the recorded take is not in the folder of shared data")
    take = read_take(path)
    assert take.weights.shape == (328, 52) and take.warnings == ()
    assert take.start == "00:32:09:07.867" and take.seconds[-1] == pytest.approx(327 / 60, abs=0.01)
    names = [line.split(",") for line in path.read_text().splitlines()[:2]]
    for name, value in zip(*names):
        if name[0].lower() + name[1:] in ARKIT_NAMES:
            assert take.weights[0, ARKIT_NAMES.index(name[0].lower() + name[1:])] == pytest.approx(float(value))


def test_the_file_has_the_app_s_own_columns_in_its_order(shared: Path) -> None:
    recorded = shared / "takes" / "live_link_face.csv"
    if not recorded.is_file():
        pytest.skip("the recorded take is not in the folder of shared data")
    assert lines_of(a_take(1))[0] == recorded.read_text().splitlines()[0]


def test_a_missing_weight_is_0_and_is_named(tmp_path: Path) -> None:
    rows = [line.split(",") for line in lines_of(a_take(40))]
    tongue = rows[0].index("TongueOut")
    path = tmp_path / "take.csv"
    path.write_text("\n".join(",".join(cells[:tongue] + cells[tongue + 1 :]) for cells in rows))
    take = read_take(path)
    assert (take.weights[:, ARKIT_NAMES.index("tongueOut")] == 0.0).all()
    assert len(take.warnings) == 1 and "TongueOut" in take.warnings[0]


def test_columns_are_found_in_any_order_and_case(tmp_path: Path) -> None:
    take = a_take(40)
    rows = [line.split(",") for line in lines_of(take)]
    rows[0] = [name.lower() for name in rows[0]]
    path = tmp_path / "take.csv"
    path.write_text("\r\n".join(",".join(reversed(cells)) for cells in rows))
    np.testing.assert_allclose(read_take(path).weights, take.weights, atol=1e-9)


def test_a_timecode_without_subframes_and_without_angles_is_read(tmp_path: Path) -> None:
    rows = [line.split(",")[:54] for line in lines_of(a_take(90, rate=30.0), 30.0)]
    path = tmp_path / "take.csv"
    path.write_text("\n".join(",".join([cells[0].split(".")[0], "51", *cells[2:]]) for cells in rows))
    take = read_take(path)
    np.testing.assert_allclose(take.seconds, np.arange(90) / 30.0, atol=1e-9)
    assert (take.angles == 0.0).all()


def test_broken_rows_are_left_out_and_counted_and_dropped_frames_are_said(tmp_path: Path) -> None:
    lines = lines_of(a_take(60))
    lines[5] = lines[5][:100]
    lines[9] = lines[9].replace("0.", "x.")
    del lines[20:24]
    path = tmp_path / "take.csv"
    path.write_text("\n".join(lines))
    take = read_take(path)
    assert len(take.seconds) == 54
    assert any(warning.startswith("2 rows") for warning in take.warnings)
    assert any("frames are missing" in warning for warning in take.warnings)


def test_weights_outside_0_to_1_are_clipped(tmp_path: Path) -> None:
    lines = lines_of(a_take(3))
    cells = lines[1].split(",")
    cells[2], cells[3] = "1.5", "-0.5"
    lines[1] = ",".join(cells)
    path = tmp_path / "take.csv"
    path.write_text("\n".join(lines))
    take = read_take(path)
    assert take.weights.max() <= 1.0 and take.weights.min() >= 0.0 and "clipped" in take.warnings[0]


def test_a_take_over_midnight_goes_on(tmp_path: Path) -> None:
    header, *rows = lines_of(a_take(2))
    stamps = ("23:59:59:59.000", "00:00:00:00.000")
    path = tmp_path / "take.csv"
    path.write_text("\n".join([header, *(",".join([s, *row.split(",")[1:]]) for s, row in zip(stamps, rows))]))
    np.testing.assert_allclose(read_take(path).seconds, [0.0, 1 / 60], atol=1e-9)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "names no ARKit weight"),
        (b"a,b,c\n1,2,3\n", "names no ARKit weight"),
        (b"\x00\xff" * 4000, "names no ARKit weight"),
        (b"Timecode,JawOpen\n", "no frame"),
        (b"Timecode,JawOpen\n00:00:00:00,nan\n", "no frame"),
        (b"Timecode,JawOpen\n" + b"1," * 70_000, "characters"),
        (b'Timecode,JawOpen\n"' + b"a\n" * 200_000, "CSV"),
        (b",".join(b"JawOpen" for _ in range(2000)) + b"\n", "columns"),
    ],
)
def test_a_file_that_is_no_take_is_refused_in_one_line(content: bytes, word: str, tmp_path: Path) -> None:
    path = tmp_path / "take.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=word) as refused:
        read_take(path)
    assert "\n" not in str(refused.value) and "take.csv" in str(refused.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(InputError, match="no such file"):
            read_take(path)


def test_a_take_holds_a_row_for_each_frame() -> None:
    with pytest.raises(InputError, match="weights"):
        Take(np.arange(3) / 30.0, np.zeros((2, 52)), np.zeros((3, len(ANGLE_NAMES))))
