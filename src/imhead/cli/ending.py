"""How a command ends: every error becomes one line on stderr and an exit code."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import traceback
import warnings
from contextlib import suppress

from imhead.errors import one_line, refusal


def exit_code(words: list[str]) -> int:
    """Run one command, as its words say; the exit code."""
    debug = "--debug" in words
    _set_up(debug)
    try:
        import typer

        from imhead.cli import commands

        if "_IMHEAD_COMPLETE" in os.environ:  # a shell asks how a word goes on
            commands.command.main(prog_name="imhead")
        try:
            # not typer's own `main`, which returns exit codes instead of raising, and turns Ctrl-C into one of them
            with commands.command.make_context("imhead", [word for word in words if word != "--debug"]) as context:
                commands.command.invoke(context)
            if sys.stdout is not None:
                sys.stdout.flush()
        except typer.Exit as done:
            return done.exit_code
        except typer.TyperException as error:
            message = error.format_message()
            return _failed(message, 2) if message else 2  # no words at all: help was shown
    except KeyboardInterrupt:
        return _failed("stopped", 128 + signal.SIGINT)
    except BrokenPipeError:
        _drop_stdout()
        return 1
    except Exception as error:  # the one place where errors become a line
        if isinstance(error, OSError):
            _drop_stdout()
        said = refusal(error)
        if said is not None:
            return _failed(said, 2)
        if debug:
            traceback.print_exc()
        return _failed(f"internal error: {type(error).__name__}: {error}; run again with --debug and report it", 1)
    return 0


def _set_up(debug: bool) -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without Unicode shows escapes
            stream.reconfigure(errors="backslashreplace")
    if debug:
        logging.basicConfig(format="%(message)s")
        logging.getLogger("imhead").setLevel(logging.DEBUG)
    elif not sys.warnoptions:  # what libraries say of a stranger's file is raw, and for programmers
        logging.basicConfig(handlers=[logging.NullHandler()])
        warnings.simplefilter("ignore")


def _failed(message: object, code: int) -> int:
    with suppress(OSError):  # stderr may be closed
        print(one_line(f"imhead: {message}"), file=sys.stderr, flush=True)
    return code


def _drop_stdout() -> None:
    """Let what is left to print go nowhere: at exit Python would try again, and complain in several lines."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
