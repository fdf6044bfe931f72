"""Training and evaluation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from imhead.cli.console import DeviceOption, JsonOption, ModelOption, print_json, read_settings, say
from imhead.errors import InputError


def train(
    preset: Annotated[str, typer.Argument(help="default, paper, tiny, or a JSON file of settings.")],
    data: Annotated[Path, typer.Option("--data", help="ICT-FaceKit: a clone, or its packed .npz.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the run.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads; one is close to as fast as two.")] = 1,
) -> None:
    """Train a model; a killed run resumes with nothing lost."""
    import torch

    from imhead.config import PRESETS, train_config_from_dict
    from imhead.sources.ict import read_ict
    from imhead.training.loop import train as run_training
    from imhead.training.pictures import save_run_model, three_heads

    if preset in PRESETS:
        config = PRESETS[preset]
    elif Path(preset).is_file():
        config = train_config_from_dict(read_settings(Path(preset)))
    else:
        raise InputError(f"{preset}: neither a preset ({', '.join(PRESETS)}) nor a JSON file")
    torch.set_num_threads(threads)
    learner = run_training(config, read_ict(data), out, resume=resume, progress=say.print, picture=three_heads)
    path = save_run_model(learner, config, out)
    say.print(f"trained model in {path}")


def evaluate(
    suite: Annotated[str, typer.Option("--suite", help="heldout, real or locality.")],
    data: Annotated[
        Path | None, typer.Option("--data", help="ICT-FaceKit for heldout, a folder of scans for real.")
    ] = None,
    heads: Annotated[int, typer.Option(min=1, help="Held-out heads.")] = 100,
    turns: Annotated[int, typer.Option(min=0, help="Random turns and units of each real scan.")] = 10,
    detail: Annotated[bool, typer.Option("--detail/--no-detail", help="Fit region offsets too.")] = True,
    processes: Annotated[int, typer.Option(min=1, help="Fits side by side.")] = 2,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Accuracy in mm: on heads that training never saw, or on real scans."""
    from imhead import load
    from imhead.evaluation import heldout_suite, locality_suite, real_suite
    from imhead.fitting.fit import FitConfig
    from imhead.sources.ict import read_ict

    if suite not in ("heldout", "real", "locality"):
        raise InputError(f"--suite {suite!r} is not known; use heldout, real or locality")
    # a folder `shared` beside the project is where its development data is kept
    found = data or Path("../shared") / ("ict/ict_facekit_light.npz" if suite == "heldout" else "scans")
    if suite != "locality" and not found.exists():
        raise InputError(f"{found}: no such data; name it with --data")
    opened, config = load(model, device).model, FitConfig(detail=detail)
    progress: Callable[[str], None] = say.print
    if suite == "heldout":
        rows = heldout_suite(opened, read_ict(found), heads, config, progress, processes)
    elif suite == "real":
        rows = real_suite(opened, found, turns, config, progress, processes)
    else:
        rows = locality_suite(opened)
    if as_json:
        print_json({"rows": rows})
    else:
        for row in rows:
            say.print({key: value for key, value in row.items() if key != "cases"})
