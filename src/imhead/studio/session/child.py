"""A process of its own for one piece of work: it can be ended at any time, and what it does stops nobody else.

The process prints one line when it has started and one at the end: `done:`, and why it failed if it did.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from imhead.errors import InputError

DONE = "done:"
"""Start of the last line; the reason of a refusal follows."""


def started(module: str, words: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a module of this package."""
    # unbuffered, so that reading the first line takes nothing of the second
    return subprocess.Popen(
        [sys.executable, "-m", module, *words],
        bufsize=0, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def answer_of(process: subprocess.Popen[bytes], most_s: float | None) -> str | None:
    """What a process refused, empty if nothing; None if it ended without a word.

    Args:
        most_s: its time limit, from its first line; None for none.

    Raises:
        subprocess.TimeoutExpired: it takes longer.
    """
    assert process.stdout is not None
    process.stdout.readline()
    output, _ = process.communicate(timeout=most_s)
    last = output.decode(errors="replace").strip()
    return last.removeprefix(DONE) if last.startswith(DONE) else None


def say(refusal: str) -> None:
    """Print the last line, in the process itself."""
    print(DONE + " ".join(refusal.split()), flush=True)


def refused(label: str) -> InputError:
    """The error for a process that ended without a word."""
    return InputError(f"{label}: could not be finished within the limits of memory and time; try again")
