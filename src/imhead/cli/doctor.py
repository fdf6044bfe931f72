"""The doctor: what is installed, what this machine has, whether a short fit works, and what mends the rest.

Nothing here needs a working installation: a library that does not import is a finding.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Annotated, Any

import typer

from imhead import __version__
from imhead.cli.console import JsonOption, print_json, print_line, say, shipped_scan
from imhead.errors import one_line

_NEEDED = ("torch", "numpy", "scipy", "trimesh", "scikit-image", "libigl", "safetensors", "typer", "rich", "pillow")
_MODULES = {"scikit-image": "skimage", "libigl": "igl", "pillow": "PIL"}
_OPTIONAL = {
    "embreex": ("embreex", "rays about four times as fast", "pip install embreex"),
    "websockets": ("websockets", "imhead studio", "pip install 'imhead[studio]'"),
    "DracoPy": ("DracoPy", "GLB scans compressed by Draco", "pip install 'imhead[draco]'"),
    "usd-core": ("pxr", "USD scans and avatars", "pip install 'imhead[usd]'"),
    "huggingface_hub": ("huggingface_hub", "models of the hub", "pip install 'imhead[hub]'"),
    "ray": ("ray", "many scans on a cluster", "pip install 'imhead[cluster]'"),
    "anny": ("anny", "a source of training heads", "pip install 'imhead[anny]'"),
}
_REINSTALL = "pip install --force-reinstall imhead"
_EXPECTED_MM = 1.0  # median of the short fit; it is about 0.2


def doctor(
    fit: Annotated[bool, typer.Option("--fit/--no-fit", help="Also fit the scan that ships, with few points.")] = True,
    as_json: JsonOption = False,
) -> None:
    """What is installed, what this machine has, whether a short fit works, and the command that mends what is missing.

    Ends with exit code 1 where something that imhead needs does not work.
    """
    problems: list[dict[str, str]] = []
    found: dict[str, Any] = {
        "imhead": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in (*_NEEDED, *_OPTIONAL)},
    }
    for name in _NEEDED:
        if (error := _import_error(_MODULES.get(name, name))) is not None:
            problems.append({"what": f"{name}: {error}", "remedy": f"pip install --force-reinstall {name}"})
    has_embreex = platform.machine() in ("x86_64", "AMD64") or sys.platform == "darwin"  # elsewhere it has no wheel
    missing = [
        {"what": name, "for": use, "remedy": remedy}
        for name, (module, use, remedy) in _OPTIONAL.items()
        if (has_embreex or name != "embreex") and _import_error(module, find_only=module != "embreex") is not None
    ]
    hints: list[dict[str, str]] = []
    for name, look in (("device", _device), ("threads", _threads), ("reading", _reading), ("rays", _rays)):
        try:
            found[name] = look(hints)
        except Exception as error:  # a finding, not an end
            found[name] = None
            _add(problems, name, error)
    if fit and not problems:
        try:
            found["fit"] = _fit(problems)
        except Exception as error:
            _add(problems, "the fit of the scan that ships", error)
    found |= {"problems": problems, "hints": hints, "missing": missing, "ok": not problems}
    if as_json:
        print_json(found)
    else:
        _show(found)
    if problems:
        raise typer.Exit(1)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _import_error(module: str, find_only: bool = False) -> str | None:
    """Why a module cannot be imported, or None."""
    try:
        if find_only:
            return None if find_spec(module) is not None else "is not installed"
        import_module(module)
    except Exception as error:
        return one_line(f"{type(error).__name__}: {error}", 200)
    return None


def _add(problems: list[dict[str, str]], what: str, error: Exception) -> None:
    said = one_line(f"{what}: {type(error).__name__}: {error}", 300)
    problems.append({"what": said, "remedy": _REINSTALL})


def _hint(hints: list[dict[str, str]], what: str, remedy: str) -> None:
    hints.append({"what": what, "remedy": remedy})


def _device(hints: list[dict[str, str]]) -> dict[str, Any]:
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        return {"name": torch.cuda.get_device_name(), "memory_gb": total / 1e9, "free_gb": free / 1e9}
    if torch.version.cuda is None and shutil.which("nvidia-smi") is not None:
        _hint(hints, "there is an NVIDIA GPU, but torch is the version for CPUs", "pip install --force-reinstall torch")
    elif torch.version.cuda is not None and shutil.which("nvidia-smi") is None:
        _hint(
            hints,
            "torch is the version for NVIDIA GPUs, of which there is none; the one for CPUs takes far less of the disk",
            "pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cpu",
        )
    return {"name": platform.processor() or platform.machine(), "memory_gb": None, "free_gb": None}


def _threads(hints: list[dict[str, str]]) -> dict[str, Any]:
    import torch

    affinity: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)  # Linux
    cores = os.cpu_count() or 1
    usable = len(affinity(0)) if affinity is not None else cores
    threads = torch.get_num_threads()
    given = os.environ.get("OMP_NUM_THREADS")
    if given is not None and threads != usable and usable > 1:
        _hint(hints, f"OMP_NUM_THREADS is {given}, on {usable} cores", "unset OMP_NUM_THREADS")
    return {"cores": cores, "usable": usable, "torch": threads, "OMP_NUM_THREADS": given}


def _reading(hints: list[dict[str, str]]) -> dict[str, bool]:
    from imhead.io.limits import can_limit

    limited = can_limit()
    if not limited:
        _hint(hints, "this system cannot limit the memory that reading a scan takes", "open scans that you trust")
    return {"limited": limited}


def _rays(hints: list[dict[str, str]]) -> str:
    from imhead.surfaces.ray_tree import caster_name

    return caster_name()


def _fit(problems: list[dict[str, str]]) -> dict[str, Any]:
    """A fit of the scan that ships, with few points, no detail and a coarse mesh."""
    import imhead

    began = time.perf_counter()
    model = imhead.load()
    loaded = time.perf_counter()
    say.print("fitting the scan that ships ...")
    config = imhead.FitConfig(points=2000, detail=False, resolution=64)
    median = model.fit(shipped_scan(), config=config).report()["scan_to_head_mm"]["median"]
    ended = time.perf_counter()
    if median is None or median > _EXPECTED_MM:
        said = f"the head lies {median} mm from the scan, not within {_EXPECTED_MM} mm"
        problems.append({"what": said, "remedy": _REINSTALL})
    return {
        "model": model.model.name,
        "model_hash": model.model.hash,
        "load_seconds": loaded - began,
        "seconds": ended - loaded,
        "median_mm": median,
    }


def _show(found: dict[str, Any]) -> None:
    print_line(f"imhead {found['imhead']}, Python {found['python']}, {found['platform']}")
    print_line(", ".join(f"{name} {version}" for name, version in found["packages"].items() if version is not None))
    if found["device"] is not None:
        memory = found["device"]["memory_gb"]
        print_line(f"device: {found['device']['name']}" + ("" if memory is None else f", {memory:.0f} GB"))
    if found["threads"] is not None:
        print_line("threads: {torch} of torch, on {usable} of {cores} cores".format(**found["threads"]))
    if found["reading"] is not None:
        print_line(f"scans are read {'with limits' if found['reading']['limited'] else 'without a limit'} of memory")
    if found["rays"] is not None:
        print_line(f"rays: {found['rays']}")
    if "fit" in found:
        print_line("fit: {seconds:.1f} s, median {median_mm:.2f} mm, model {model} {model_hash}".format(**found["fit"]))
    for row in found["missing"]:
        print_line(f"not installed: {row['what']}, for {row['for']}: {row['remedy']}")
    for row in found["hints"]:
        print_line(f"hint: {row['what']}: {row['remedy']}")
    for row in found["problems"]:
        print_line(f"PROBLEM: {row['what']}: {row['remedy']}")
    print_line("imhead works here" if found["ok"] else f"imhead does not work here, with Python at {sys.executable}")
