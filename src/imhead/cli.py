"""The command line: typed subcommands that read, call and write. Text goes to stderr, `--json` to stdout."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from imhead.errors import InputError

app = typer.Typer(
    help="An implicit 3D model of the human head: fit it to a scan, edit one region, get a mesh.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_say = Console(stderr=True, highlight=False, soft_wrap=True)

ModelOption = Annotated[str, typer.Option("--model", help="Name of a shipped model, or path of one.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")]
OutFolder = Annotated[Path, typer.Option("--out", help="Folder for the results; made where missing.")]


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


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, allow_nan=False))


def _bar() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=_say)


@app.command()
def sample(
    out: OutFolder,
    count: Annotated[int, typer.Option("-n", min=1, max=10000, help="How many heads.")] = 8,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    spread: Annotated[float, typer.Option(min=0.0, max=2.0, help="Standard deviation of the codes.")] = 0.8,
    resolution: Annotated[int, typer.Option(help="Cells of the mesh along the longest side.")] = 256,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """New heads: head files, meshes and a contact sheet."""
    from imhead import load, render
    from imhead.export import write_mesh

    heads = load(model, device).sample(count, seed, spread)
    _folder(out)
    pictures, files = [], []
    with _bar() as bar:
        for k, head in enumerate(bar.track(heads, description="heads")):
            mesh = head.mesh(resolution=resolution)
            head.save(out / f"head_{k:03d}.safetensors")
            write_mesh(mesh, out / f"head_{k:03d}.ply")
            files.append(f"head_{k:03d}.ply")
            if k < 24:
                pictures.append(render.shade(mesh, "three_quarter" if k % 2 else "front", 384))
    render.contact_sheet(pictures, columns=4).save(out / "contact_sheet.png")
    _say.print(f"{count} heads in {out}")
    if as_json:
        _print_json({"out": str(out), "heads": files, "contact_sheet": "contact_sheet.png"})


@app.command()
def fit(
    scans: Annotated[list[Path], typer.Argument(help="Scans: .ply, .obj, .stl, .glb or .off, mesh or points.")],
    out: OutFolder,
    units: Annotated[str, typer.Option(help="auto, mm, cm or m.")] = "auto",
    landmarks: Annotated[
        Path | None,
        typer.Option(help='JSON: {"region name": [x, y, z], ...}, three or more, in the scan\'s own frame.'),
    ] = None,
    detail: Annotated[bool, typer.Option("--detail/--no-detail", help="Fit region offsets too.")] = True,
    resolution: Annotated[int, typer.Option(help="Cells of the mesh along the longest side.")] = 256,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Find the head in each scan: codes, mesh, overlay, report and picture."""
    from imhead import load
    from imhead.curation.scanfile import read_scan
    from imhead.fit_folder import write_fit
    from imhead.fitting.fit import FitConfig, fit_scan
    from imhead.fitting.landmarks import read_landmarks

    if units not in ("auto", "mm", "cm", "m"):
        raise InputError(f"--units {units!r} is not known; use auto, mm, cm or m")
    if len({path.stem for path in scans}) < len(scans):
        raise InputError("two scans have the same file name, and would write to the same folder; rename one")
    opened = load(model, device).model
    config = FitConfig(detail=detail, resolution=resolution, seed=seed)
    named = None if landmarks is None else read_landmarks(landmarks, opened)
    reports: list[dict[str, Any]] = []
    refused: list[str] = []
    for path in scans:
        try:
            with _bar() as bar:
                task = bar.add_task(path.name, total=1.0)

                def show(stage: str, part: float, bar: Progress = bar, name: str = path.name, task: Any = task) -> None:
                    bar.update(task, completed=part, description=f"{name}: {stage}")

                scan = read_scan(path)
                result = fit_scan(scan, opened, config, units=units, landmarks=named, progress=show)  # type: ignore[arg-type]
                report = write_fit(result, scan, out / path.stem)
                bar.update(task, completed=1.0, description=path.name)
        except InputError as error:
            message = str(error) if path.name in str(error) else f"{path}: {error}"
            # the other scans still get their fit
            refused.append(message)
            reports.append({"scan": str(path), "error": message})
            continue
        for warning in report["warnings"]:
            _say.print(f"[yellow]warning[/] {path.name}: {warning}")
        spread = report["scan_to_head_mm"]
        if spread["median"] is not None:
            _say.print(
                f"{path.name}: median {spread['median']:.2f} mm, p90 {spread['p90']:.2f} mm over "
                f"{100 * report['explained_fraction']:.0f} % of the scan, in {out / path.stem}"
            )
        reports.append({"scan": str(path), "out": str(out / path.stem), **report})
    if as_json:
        _print_json({"fits": reports})
    if refused:
        raise InputError("; ".join(refused))


@app.command()
def regions(as_json: JsonOption = False) -> None:
    """The 39 regions, their groups and mirror pairs."""
    from imhead.regions import REGIONS, groups

    rows = [
        {"name": r.name, "index": r.index, "group": r.group, "mirror": REGIONS[r.mirror].name, "radius_mm": r.radius_mm}
        for r in REGIONS
    ]
    if as_json:
        _print_json({"regions": rows, "groups": {name: list(members) for name, members in groups().items()}})
        return
    for name, members in groups().items():
        print(f"{name}: {', '.join(members)}")


@app.command()
def edit(
    head: Annotated[Path, typer.Argument(help="Head file.")],
    region: Annotated[list[str], typer.Option("--region", help="Region or group; may repeat.")],
    out: Annotated[Path, typer.Option("--out", help="Head file to write.")],
    draw: Annotated[int | None, typer.Option("--sample", min=0, help="Seed of a random draw.")] = None,
    source: Annotated[Path | None, typer.Option("--from", help="Head to take the regions from.")] = None,
    direction: Annotated[int | None, typer.Option(help="Principal direction of the regions, from 0.")] = None,
    strength: Annotated[float, typer.Option(help="How far; 1 is one standard deviation, or all the way.")] = 1.0,
    mirror: Annotated[bool, typer.Option("--mirror", help="The same on the other side.")] = False,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Change one region or group of a head, and nothing else."""
    from imhead import load
    from imhead.regions import resolve

    chosen = [r.name for r in resolve(region)]
    opened = load(model, device)
    before = opened.open(head)
    after = before.edit(
        chosen,
        sample=draw,
        source=None if source is None else opened.open(source),
        direction=direction,
        strength=strength,
        mirror=mirror,
    )
    _head_path(out)
    after.save(out)
    _say.print(f"{after.codes.provenance[-1]}, in {out}")
    if as_json:
        _print_json({"out": str(out), "regions": chosen, "provenance": list(after.codes.provenance)})


@app.command()
def mesh(
    head: Annotated[Path, typer.Argument(help="Head file.")],
    out: Annotated[Path, typer.Option("--out", help=".ply, .obj, .stl (mm) or .glb (metres).")],
    expression: Annotated[list[str] | None, typer.Option("--expression", help="ARKit name=weight; may repeat.")] = None,
    surface: Annotated[str, typer.Option(help="volume.")] = "volume",
    resolution: Annotated[int, typer.Option(help="Cells along the longest side of the bounds, 16 to 1024.")] = 256,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """A mesh of a head, with its own expression or another."""
    from imhead import load
    from imhead.export import write_mesh

    if surface != "volume":
        raise InputError(f"--surface {surface!r} is not available in this version; use volume")
    weights = None if not expression else dict(_weight(text) for text in expression)
    opened = load(model, device).open(head)
    drawn = opened.mesh(weights, resolution)
    _head_path(out, suffix=None)
    licence = "weights: Apache-2.0; trained on heads drawn from ICT-FaceKit (MIT)"
    write_mesh(drawn, out, metadata={"model": opened.codes.model_id, "licence": licence})
    _say.print(f"{len(drawn.vertices)} vertices, {len(drawn.faces)} faces, in {out}")
    if as_json:
        _print_json({"out": str(out), "vertices": len(drawn.vertices), "faces": len(drawn.faces)})


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(metavar="A", help="Head file before.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="Head file after.")],
    out: OutFolder,
    region: Annotated[list[str] | None, typer.Option("--region", help="Region or group that was edited.")] = None,
    resolution: Annotated[int, typer.Option(help="Cells along the longest side of the bounds.")] = 256,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """What changed between two heads: signed movement in mm, inside and outside a region."""
    from imhead import load
    from imhead.regions import resolve
    from imhead.report import compare_meshes

    chosen = [r.name for r in resolve(region)] if region else []
    opened = load(model, device)
    first, second = opened.open(before), opened.open(after)
    balls = [ball for head in (first, second) for ball in head.reach(chosen)] if chosen else []
    result = compare_meshes(
        first.mesh(resolution=resolution),
        second.mesh(resolution=resolution),
        region_ball=[(tuple(ball.center_mm), ball.radius_mm) for ball in balls] or None,
        out=out,
        labels=(before.stem, after.stem) if before.stem != after.stem else ("before", "after"),
        region_names=chosen,
    )
    _say.print(f"report.html, heatmap.png and report.json in {out}")
    if as_json:
        _print_json(result)


@app.command()
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
        config = train_config_from_dict(_json_file(Path(preset)))
    else:
        raise InputError(f"{preset}: neither a preset ({', '.join(PRESETS)}) nor a JSON file")
    torch.set_num_threads(threads)
    learner = run_training(config, read_ict(data), out, resume=resume, progress=_say.print, picture=three_heads)
    path = save_run_model(learner, config, out)
    _say.print(f"trained model in {path}")


@app.command("eval")
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
    say: Callable[[str], None] = _say.print
    if suite == "heldout":
        rows = heldout_suite(opened, read_ict(found), heads, config, say, processes)
    elif suite == "real":
        rows = real_suite(opened, found, turns, config, say, processes)
    else:
        rows = locality_suite(opened)
    if as_json:
        _print_json({"rows": rows})
    else:
        for row in rows:
            _say.print({key: value for key, value in row.items() if key != "cases"})


def _weight(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise InputError(f"--expression {text!r}: write NAME=WEIGHT, for example jawOpen=0.5") from None


def _folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be made ({error.strerror}); choose another --out") from error


def _head_path(path: Path, suffix: str | None = ".safetensors") -> None:
    if suffix is not None and path.suffix != suffix:
        raise InputError(f"{path}: a head file ends in {suffix}; rename --out")
    _folder(path.parent)


def _json_file(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: is not a JSON file ({error})") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds no JSON object of settings")
    return value
