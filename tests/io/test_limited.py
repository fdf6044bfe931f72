"""Untrusted scans are read in a process of their own, within limits, and come back bit for bit."""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.io.files import ball_ply, ball_stl, saved

from imhead.errors import InputError
from imhead.io import limited, limits
from imhead.io.limited import read_scan_limited
from imhead.io.limits import NO_MEMORY_LIMIT, Limits, can_limit, limits_for, size_with_files_beside
from imhead.io.packed_scan import receive_scan, send_scan
from imhead.io.scan_file import read_scan
from imhead.types import Scan

needs_limits = pytest.mark.skipif(not can_limit(), reason="this system has no limits of processes")
SMALL = Limits(1 << 30, 10, 20.0)


def same(a: Scan, b: Scan) -> bool:
    arrays = all(
        (x is None and y is None) or (x is not None and y is not None and np.array_equal(x, y))
        for x, y in ((a.points, b.points), (a.normals, b.normals), (a.faces, b.faces))
    )
    return arrays and (a.name, a.warnings) == (b.name, b.warnings)


def cloud() -> bytes:
    rows = np.random.default_rng(0).normal(size=(500, 3))
    return b"\n".join(b"%f %f %f" % tuple(row) for row in rows)


@pytest.mark.parametrize(
    ("name", "data"), [("mesh.ply", ball_ply()), ("cloud.xyz", cloud()), ("spare.stl", ball_stl(tail=b"xyz"))]
)
def test_a_scan_that_is_read_apart_is_the_one_that_is_read_here(tmp_path: Path, name: str, data: bytes) -> None:
    path = saved(tmp_path, name, data)
    assert same(read_scan_limited(path), read_scan(path))


def test_a_refusal_comes_back_as_it_is(tmp_path: Path) -> None:
    for name, data in (("half.ply", ball_ply()[:-100]), ("none.obj", b""), ("a.docx", b"PK")):
        path = saved(tmp_path, name, data)
        with pytest.raises(InputError) as here:
            read_scan(path)
        with pytest.raises(InputError) as apart:
            read_scan_limited(path)
        assert str(apart.value) == str(here.value)
    with pytest.raises(InputError, match=r"missing\.ply: no such file"):
        read_scan_limited(tmp_path / "missing.ply")


def reads(monkeypatch: pytest.MonkeyPatch, read: Callable[[], object], limits: Limits = SMALL) -> None:
    """What the reading process does instead of reading, and its limits."""
    monkeypatch.setattr(limited, "read_scan", lambda path, max_bytes: read())
    monkeypatch.setattr(limited, "limits_for", lambda size: limits)


@needs_limits
@pytest.mark.parametrize(
    ("read", "limits", "said"),
    [
        (lambda: np.ones(1 << 28), SMALL, "needs too much memory"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), SMALL, "could not be read within the limits"),
        (lambda: os._exit(0), SMALL, "could not be read within the limits"),
        (lambda: all(True for _ in iter(int, 1)), Limits(1 << 30, 1, 60.0), "more than 1 s of processor time"),
        (lambda: time.sleep(60), Limits(1 << 30, 10, 0.2), "takes longer than 0 s"),
    ],
    ids=["memory", "crash", "end", "processor time", "time"],
)
def test_a_file_that_breaks_its_reader_or_its_limits_is_refused_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    read: Callable[[], object],
    limits: Limits,
    said: str,
) -> None:
    reads(monkeypatch, read, limits)
    with pytest.raises(InputError, match=said) as caught:
        read_scan_limited(saved(tmp_path, "bad.ply", b"ply"))
    message = str(caught.value)
    assert "bad.ply: " in message and ";" in message and message.isprintable()
    with pytest.raises(ChildProcessError):  # no process is left
        os.waitpid(-1, os.WNOHANG)


@needs_limits
def test_a_fault_of_the_reader_is_told_as_ours_with_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads(monkeypatch, lambda: {}["no such key"])
    with pytest.raises(RuntimeError, match=r"(?s)its reader failed.*KeyError: 'no such key'"):
        read_scan_limited(saved(tmp_path, "odd.ply", b"ply"))


@needs_limits
def test_reading_apart_leaves_no_file_open(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.ply", ball_ply())
    read_scan_limited(path)
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        read_scan_limited(path)
        with pytest.raises(InputError):
            read_scan_limited(tmp_path / "none.ply")
    assert set(os.listdir("/proc/self/fd")) == before


@needs_limits
def test_what_the_reader_prints_does_not_reach_the_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    scan = read_scan(saved(tmp_path, "a.ply", ball_ply()))

    def loud() -> Scan:
        os.write(1, b"library banner\n")
        os.write(2, b"library warning\n")
        return scan

    reads(monkeypatch, loud)
    assert same(read_scan_limited(tmp_path / "a.ply"), scan)
    assert capfd.readouterr() == ("", "")


def without_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows and macOS."""
    monkeypatch.setattr(limited, "can_limit", lambda: False)


def test_where_a_system_cannot_fork_a_started_process_reads_and_the_scan_says_what_was_not_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_fork(monkeypatch)
    path = saved(tmp_path, "a.ply", ball_ply())
    plain = read_scan(path)
    assert same(read_scan_limited(path), replace(plain, warnings=(*plain.warnings, NO_MEMORY_LIMIT)))
    bad = saved(tmp_path, "half.ply", ball_ply()[:-100])
    with pytest.raises(InputError) as here:
        read_scan(bad)
    with pytest.raises(InputError) as apart:
        read_scan_limited(bad)
    assert str(apart.value) == str(here.value)


def test_a_started_process_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_fork(monkeypatch)
    monkeypatch.setattr(limited, "limits_for", lambda size: Limits(1 << 30, 10, 0.01))  # less than Python's start
    with pytest.raises(InputError, match=r"a\.ply: takes longer than 0 s to read; thin"):
        read_scan_limited(saved(tmp_path, "a.ply", ball_ply()))


def test_where_no_process_can_be_started_the_scan_is_read_here_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, "a.ply", ball_ply())
    plain = read_scan(path)
    warned = replace(plain, warnings=(*plain.warnings, limited._UNLIMITED))

    def none_left(*_: object, **__: object) -> int:
        raise BlockingIOError(11, "no more processes")

    monkeypatch.setattr(limited.os, "fork", none_left)
    assert same(read_scan_limited(path), warned)
    without_fork(monkeypatch)
    monkeypatch.setattr("subprocess.Popen", none_left)
    assert same(read_scan_limited(path), warned)


def test_without_the_resource_module_nothing_is_limited_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "resource", None)
    assert not can_limit()
    limits.limit_this_process(SMALL)


def test_limits_grow_with_the_file_and_the_files_beside_it(tmp_path: Path) -> None:
    small, large = limits_for(0), limits_for(100 << 20)
    assert large.memory_bytes - small.memory_bytes == 20 * (100 << 20)
    assert small.cpu_s < large.cpu_s < small.cpu_s + 60
    saved(tmp_path, "a.bin", bytes(5000))
    assert size_with_files_beside(saved(tmp_path, "a.gltf", b"{}")) == 5002
    assert size_with_files_beside(saved(tmp_path, "a.ply", b"ply")) == 3
    assert size_with_files_beside(tmp_path / "missing.ply") == 0


def test_a_packed_scan_is_the_same_and_holds_no_more_than_allowed(tmp_path: Path) -> None:
    for name, data in (("mesh.ply", ball_ply()), ("cloud.xyz", cloud())):
        scan = read_scan(saved(tmp_path, name, data))
        pieces = bytearray()
        send_scan(scan, pieces.extend)
        assert same(receive_scan(io.BytesIO(pieces).readinto, len(pieces)), scan)
        with pytest.raises(ValueError, match="too large"):
            receive_scan(io.BytesIO(pieces).readinto, scan.points.nbytes - 1)


@pytest.mark.parametrize(
    "header",
    [
        b'{"arrays": ["points"], "values": {"name": "a", "points": ["|O", [3, 3]]}}',
        b'{"arrays": ["points"], "values": {"name": "a", "points": ["<f8", [1e9, 3]]}}',
        b'{"arrays": ["points"], "values": {"name": "a", "points": ["<f8", [-4, -3]]}}',
        b"{",
    ],
)
def test_a_packed_scan_can_hold_numbers_only(header: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        receive_scan(io.BytesIO(len(header).to_bytes(8, "little") + header).readinto, 1 << 20)
