"""A wrong value in Python is an InputError that names it and says what to give, before anything is computed."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import imhead
from imhead.checkpoint import Model

Call = Callable[[imhead.MorphableModel, imhead.EditableHead], object]

MISTAKES: dict[str, tuple[Call, str]] = {
    "no heads": (lambda m, h: m.sample(0), "from 1"),
    "fewer than no heads": (lambda m, h: m.sample(-1), "from 1"),
    "a number of heads that is none": (lambda m, h: m.sample(2.5), "whole number"),  # type: ignore[arg-type]
    "too many heads": (lambda m, h: m.sample(10**30), "100000"),
    "a seed below 0": (lambda m, h: m.sample(seed=-1), "from 0"),
    "a spread that is no number": (lambda m, h: m.sample(spread=math.nan), "spread"),
    "a spread beyond all heads": (lambda m, h: m.sample(spread=1e308), "spread"),
    "no region": (lambda m, h: h.edit([], sample=1), "at least one region"),
    "an empty name": (lambda m, h: h.edit("", sample=1), "did you mean"),
    "a region that is no name": (lambda m, h: h.sample(3, 1), "at least one region"),  # type: ignore[arg-type]
    "a region of no region": (lambda m, h: h.balls([]), "at least one region"),
    "a draw with a seed below 0": (lambda m, h: h.edit("nose", sample=-1), "from 0"),
    "a draw without a whole seed": (lambda m, h: h.edit("nose", sample=1e308), "whole number"),
    "a strength beyond bounds": (lambda m, h: h.edit("nose", sample=1, strength=1e308), "-10 to 10"),
    "a strength that is no number": (lambda m, h: h.edit("nose", sample=1, strength=math.nan), "-10 to 10"),
    "a strength too long to print": (lambda m, h: h.sample("nose", 1, 10**5000), "-10 to 10"),
    "a direction below 0": (lambda m, h: h.edit("nose", direction=-1), "from 0"),
    "a direction in between": (lambda m, h: h.edit("nose", direction=0.5), "whole number"),
    "no target": (lambda m, h: h.edit("nose", target={}), "name a measurement"),
    "a target that is no number": (lambda m, h: h.edit("nose", target={"tip_projection": math.nan}), "tip_projection"),
    "a target beyond all heads": (lambda m, h: h.edit("nose", target={"tip_projection": -1e308}), "-500 to 500"),
    "a limit of nothing": (lambda m, h: h.edit("nose", plausible=0.0), "limit"),
    "a side that is none": (lambda m, h: h.edit("ears", symmetry="up"), "left, right or average"),
    "a head that is none": (lambda m, h: h.edit("nose", source="x.safetensors"), "open one from its file"),
    "no head to blend with": (lambda m, h: h.edit("nose", blend=[]), "at least one other head"),
    "a blend without weights": (lambda m, h: h.edit("nose", blend=[h]), "and its weight"),
    "a share above 1": (lambda m, h: h.edit("nose", blend=[(h, 2.0)]), "0 to 1"),
    "an expression that is none": (lambda m, h: h.mesh("jawOpen"), "weights by name"),  # type: ignore[arg-type]
    "a weight that is none": (lambda m, h: h.mesh({"jawOpen": "wide"}), "0 to 1"),  # type: ignore[dict-item]
    "too few cells": (lambda m, h: h.mesh(resolution=-1), "16 to 1024"),
    "too many cells": (lambda m, h: h.mesh(resolution=10**9), "16 to 1024"),
    "a unit that is none": (lambda m, h: m.fit("scan.ply", "miles"), "auto, mm"),  # type: ignore[arg-type]
    "a scale of nothing": (lambda m, h: m.fit("scan.ply", mm_per_unit=0.0), "one unit of the scan in mm"),
    "a scale that is no number": (lambda m, h: m.fit("scan.ply", mm_per_unit="cm"), "1e-06 to 1e+06"),  # type: ignore[arg-type]
    "a person's unit that is none": (lambda m, h: m.fit_person(["a.ply"], "ell"), "auto, mm"),  # type: ignore[arg-type]
    "a track's unit that is none": (lambda m, h: m.track("in", "out", "ell"), "auto, mm"),  # type: ignore[arg-type]
    "a fit of less than no points": (lambda m, h: m.fit("s.ply", config=imhead.FitConfig(points=-5)), "points"),
    "a fit with few cells": (lambda m, h: m.fit("s.ply", config=imhead.FitConfig(resolution=3)), "16 to 1024"),
    "a scan that is not there": (lambda m, h: m.fit("a\0b.ply"), "check the path"),
    "a name that no file has": (lambda m, h: m.open("a\0b"), "give the path"),
    "a model with a name too long": (lambda m, h: imhead.load("m" * 5000), "shorter name"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_remedy(model: Model, mistake: str) -> None:
    opened = imhead.MorphableModel(model)
    call, remedy = MISTAKES[mistake]
    with pytest.raises(imhead.InputError) as caught:
        call(opened, opened.neutral())
    message = str(caught.value)
    assert remedy in message and message.isprintable() and len(message) <= 1000


def test_a_comparison_takes_two_labels(model: Model, tmp_path: Path) -> None:
    head = imhead.MorphableModel(model).neutral()
    labels: Any = ("before",)
    with pytest.raises(imhead.InputError, match="give two"):
        head.compare(head, tmp_path / "out", labels=labels)
    assert list(tmp_path.iterdir()) == []


def test_importing_the_package_imports_no_torch() -> None:
    code = "import imhead, sys; assert 'torch' not in sys.modules; assert 'load' in dir(imhead); imhead.InputError"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
    with pytest.raises(AttributeError, match="nothing"):
        imhead.nothing  # type: ignore[attr-defined]  # noqa: B018
