"""The command line: typed subcommands that read, call and write. Text goes to stderr, `--json` to stdout."""

from __future__ import annotations

import os
import sys
import traceback

import typer

from imhead.cli import bench, data, heads, learning, scans, studio
from imhead.errors import InputError

app = typer.Typer(
    help="An implicit 3D model of the human head: fit it to a scan, edit one region, get a mesh.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    heads.sample, scans.fit, heads.regions, heads.edit, heads.mesh, heads.measure, heads.compare, learning.train,
):  # fmt: skip
    app.command()(command)
app.command("eval")(learning.evaluate)
app.command("bench")(bench.bench)
app.command("studio")(studio.studio)
app.add_typer(data.app, name="data")


def main() -> None:
    """Run the command line. Exit 0 done, 2 bad input in one line, 1 our own failure."""
    # threads that spin while they wait stall each other when another program has a core; read when torch is imported
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    debug = "--debug" in sys.argv
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    try:
        app(args=arguments, prog_name="imhead", standalone_mode=False)
    except InputError as error:
        _fail(str(error), 2)
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except typer.TyperException as error:
        _fail(error.format_message(), 2)
    except (typer.Abort, KeyboardInterrupt):
        _fail("stopped", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # the one place where our own failures become a line
        if debug:
            traceback.print_exc()
        _fail(f"internal error: {type(error).__name__}: {error}; run again with --debug and report it", 1)


def _fail(message: str, code: int) -> None:
    print("imhead: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(code)
