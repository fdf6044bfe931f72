"""Training and evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imhead.cli.console import (
    AnnyOption,
    DeviceOption,
    IctOption,
    JsonOption,
    ModelOption,
    print_json,
    read_settings,
    say,
    sources_of,
)
from imhead.errors import InputError

if TYPE_CHECKING:
    from imhead.training.config import TrainConfig
    from imhead.training.learner import Learner
    from imhead.training.population import TrainingHeads

_StartOption = Annotated[
    str | None,
    typer.Option(
        "--start",
        help="What to begin from: a trained model, by name or path, or the folder of a run on the same data, whose "
        "codes are kept.",
    ),
]


def train(
    preset: Annotated[str, typer.Argument(help="default, paper, tiny, or a JSON file of settings.")],
    data: Annotated[Path, typer.Option("--data", help="Folder of a data set, from imhead data build.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the run.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    processes: Annotated[int, typer.Option(min=1, help="Processes that share the work.")] = 1,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of each, which share its heads; all cores if left out.")
    ] = None,
    device: DeviceOption = "auto",
    start: _StartOption = None,
    ict: IctOption = None,
    anny: AnnyOption = None,
) -> None:
    """Train a model; a killed run resumes with nothing lost."""
    import torch

    from imhead.checkpoint import device_named, load_model
    from imhead.datasets.dataset import open_dataset
    from imhead.training.loop import train as run_training
    from imhead.training.pictures import save_heads_picture
    from imhead.training.population import TrainingHeads
    from imhead.training.team import launched, launched_device, launched_team

    config = _settings(preset)
    if launched() and processes > 1:
        raise InputError("torchrun starts the processes; leave --processes out")
    torch.set_num_threads(threads or max(1, torch.get_num_threads() // processes))
    opened = open_dataset(data)
    heads = TrainingHeads(opened, sources_of(opened.manifest, ict, anny), config.identities)
    start_run = Path(start) if start and Path(start).is_dir() else None
    before = load_model(start_run / "model.safetensors" if start_run else start) if start else None
    chosen = launched_device(device_named(device)) if launched() else device_named(device)
    with launched_team() as team:
        learner = run_training(
            config, heads, out, resume=resume, progress=say.print, picture=save_heads_picture, processes=processes,
            device=chosen, start=before, start_run=start_run, team=team,
        )  # fmt: skip
        if team is None or not team.rank:  # the first process writes the model
            _write_model(learner, config, heads, out, {"started_from": before.hash} if before else {})


def _settings(preset: str) -> TrainConfig:
    """The settings of a preset, or of a JSON file."""
    from imhead.training.config import PRESETS, train_config_from_dict

    if preset in PRESETS:
        return PRESETS[preset]
    if not Path(preset).is_file():
        raise InputError(f"{preset}: neither a preset ({', '.join(PRESETS)}) nor a JSON file")
    return train_config_from_dict(read_settings(Path(preset)))


def _write_model(
    learner: Learner, config: TrainConfig, heads: TrainingHeads, out: Path, card: dict[str, str]
) -> None:  # fmt: skip
    """Finish a model whose networks are trained, and write it with its template, encoder and pose template."""
    import torch

    from imhead.fitting.pose_file import write_pose_template
    from imhead.training.encoder import write_encoder
    from imhead.training.eyes import fit_eye_net
    from imhead.training.learner import rescale_codes
    from imhead.training.pictures import save_run_model
    from imhead.training.template import write_template

    if heads.of_ict.any():
        rescale_codes(learner, torch.from_numpy(heads.of_ict))
    left = fit_eye_net(learner, heads.eyes(), heads.sources.mean_eyes)
    say.print(f"eyeballs: {left:.2f} mm are left of their centres' places")
    path = save_run_model(learner, config, out, heads.data.manifest, card)
    offsets, expressions = heads.offsets(), heads.all_expressions()
    template = write_template(path, learner.z_id, heads.ict, offsets, say.print)
    encoder = write_encoder(path, learner.z_id, heads.ict, offsets, expressions, config.encoder, say.print)
    write_pose_template(path)
    say.print(f"trained model in {path}, its template in {template}, its encoder in {encoder}")


def evaluate(
    suite: Annotated[
        str,
        typer.Option(
            "--suite",
            help="heldout, expressions, single_view, noise, correspondence, registration, identity, people, "
            "surgery, specificity, track, real, real_unseen, hidden, certainty or locality.",
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="A folder of scans for real, real_unseen, hidden, certainty; or a data set. Default: --ict."
        ),
    ] = None,
    heads: Annotated[int, typer.Option(min=1, help="Held-out heads.")] = 100,
    turns: Annotated[int, typer.Option(min=0, help="Random turns and units of each real scan.")] = 10,
    halves: Annotated[int, typer.Option(min=1, help="Random halves of each real scan, for real_unseen.")] = 10,
    discs: Annotated[
        int, typer.Option(min=1, help="Discs of each radius cut from each scan, for hidden, certainty.")
    ] = 10,
    take: Annotated[Path | None, typer.Option("--take", help="A take of Live Link Face (.csv), for track.")] = None,
    frames: Annotated[int, typer.Option(min=3, help="Frames of the take, at a quarter of its rate, for track.")] = 36,
    rim_residuals: Annotated[
        bool, typer.Option("--rim-residuals", help="For hidden: our fit also with its residuals at the rim carried in.")
    ] = False,
    detail: Annotated[bool, typer.Option("--detail/--no-detail", help="Fit region offsets too.")] = True,
    refine: Annotated[bool, typer.Option("--refine/--no-refine", help="Or score the encoder's first guess.")] = True,
    baselines: Annotated[bool, typer.Option("--baselines", help="Linear models on the same scans, too.")] = False,
    processes: Annotated[int, typer.Option(min=1, help="Fits side by side.")] = 2,
    ict: IctOption = None,
    anny: AnnyOption = None,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Accuracy in mm: on heads that training never saw, or on real scans."""
    from imhead import load
    from imhead.evaluation.suites import OF_SCANS, EvalConfig, EvalData, check_suite, suite_rows
    from imhead.fitting.config import FitConfig

    check_suite(suite, baselines)  # before a model is loaded
    found = data or (None if suite in OF_SCANS else ict)
    given = EvalData(found, ict, lambda manifest: sources_of(manifest, ict, anny), take)
    fit = FitConfig(detail=detail) if refine else FitConfig(robust_mm=(), detail=False)
    config = EvalConfig(heads, turns, halves, discs, rim_residuals, baselines, processes, fit, frames)
    opened = load(model, device).model
    rows = suite_rows(suite, opened, given, config, say.print)
    if as_json:
        print_json({"model": opened.hash, "rows": rows})
    else:
        for row in rows:
            say.print({key: value for key, value in row.items() if key != "cases"})
