"""The command line: typed subcommands that read, call and write. Text goes to stderr, `--json` to stdout.

Nothing that takes time is imported before `main` has said what Ctrl-C does.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False  # for a type checker this name is True; importing it from typing would take milliseconds
if TYPE_CHECKING:
    from types import FrameType


def main() -> None:
    """Run the command line, and exit: 0 done, 2 bad input in one line, 1 our own failure, 130 stopped by Ctrl-C."""
    # a handler of a program around this one stays, and so does an order to ignore Ctrl-C, as of a job in the background
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, _stop)
    # threads that spin while they wait stall each other when another program has a core; read when torch is imported
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # the same for numpy: else a scalar product costs both cores
    try:
        from imhead.cli.ending import exit_code

        code = exit_code(sys.argv[1:])
    finally:
        if ours and signal.getsignal(signal.SIGINT) is _stop:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(code)


def _stop(number: int, frame: FrameType | None) -> None:
    """On Ctrl-C: unwind, so that nothing is left half done. A second one ends the process at once."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    while frame is not None:
        # nothing has begun, and a module that is half imported turns the interrupt into errors of its own
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, b"imhead: stopped\n")
            os._exit(128 + signal.SIGINT)  # as shells count
        frame = frame.f_back
    raise KeyboardInterrupt
