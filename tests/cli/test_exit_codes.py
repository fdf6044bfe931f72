"""How a command ends: its exit code, and one line."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from imhead.cli import commands
from imhead.errors import InputError

Run = Callable[..., Any]


@pytest.fixture
def run_this(run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[], None]], Any]]:
    """Run the command line with one command, which does what is given."""

    def call(body: Callable[[], None]) -> Any:
        app = typer.Typer(add_completion=False)
        app.command()(body)
        monkeypatch.setattr(commands, "command", typer.main.get_command(app))
        return run()

    yield call
    signal.signal(signal.SIGINT, signal.default_int_handler)


def raises(error: BaseException) -> Callable[[], None]:
    def body() -> None:
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (InputError("a.ply: is empty; copy it again"), 2, "a.ply: is empty"),
        (OSError(errno.ENOSPC, "No space left on device", "b.ply"), 2, "b.ply"),
        (PermissionError(errno.EACCES, "Permission denied", "c.ply"), 2, "permissions"),
        (MemoryError(), 2, "memory"),
        (KeyError("d"), 1, "internal error: KeyError"),
        (EOFError("e"), 1, "internal error: EOFError"),
        (KeyboardInterrupt(), 130, "stopped"),
    ],
)
def test_whatever_goes_wrong_is_one_line(run_this: Run, error: BaseException, code: int, word: str) -> None:
    outcome = run_this(raises(error))
    assert outcome.code == code and outcome.out == ""
    (line,) = outcome.err.splitlines()
    assert line.startswith("imhead: ") and word in line


def test_an_exit_code_of_a_command_is_the_exit_code(run_this: Run) -> None:
    assert run_this(raises(typer.Exit(7))) == (7, "", "")


def test_a_message_with_commands_for_the_terminal_is_printed_as_text(run_this: Run) -> None:
    outcome = run_this(raises(RuntimeError("\x1b[2J[bold]\u202e\n" + "x" * 10**6)))
    (line,) = outcome.err.splitlines()
    assert line.isprintable() and len(line) <= 1000 and "[bold]" in line


def test_ctrl_c_unwinds_a_command_and_ends_with_130(run_this: Run) -> None:
    unwound = []

    def body() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            unwound.append(True)

    outcome = run_this(body)
    assert outcome.code == 130 and outcome.err == "imhead: stopped\n" and unwound


def test_ctrl_c_during_imports_ends_with_130_and_one_line(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(100)\n")
    words = [sys.executable, "-m", "imhead", "measure", "head.safetensors"]
    started = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path_with(tmp_path)},
    )
    assert started.stdout is not None and started.stdout.readline() == "importing\n"
    time.sleep(0.1)
    started.send_signal(signal.SIGINT)
    _, said = started.communicate(timeout=60)
    assert started.returncode == 130 and said == "imhead: stopped\n"


def test_a_full_disk_under_stdout_ends_with_2_and_one_line() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "imhead", "regions"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=100
        )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "No space left" in line


def test_a_terminal_without_unicode_shows_escapes(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "imhead", "edit", "h", "--region", "nose", "--out", str(tmp_path / "täst.txt")]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(words, stderr=subprocess.PIPE, text=True, timeout=100, env=environment)
    assert done.returncode == 2 and "t\\xe4st.txt" in done.stderr


def path_with(folder: Path) -> str:
    """A search path with a folder before the others."""
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
