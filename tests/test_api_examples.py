"""The examples in the docstrings of the Python verbs run as they stand."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imhead
from imhead import errors, types
from imhead.api import drawn, export, fitted, heads, measured, models, people
from imhead.avatar import look
from imhead.io.scan_file import read_scan
from imhead.types import Scan

DEMO_SCAN = Path(imhead.__file__).parent / "assets" / "demo_scan.ply"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
EXAMPLES = [
    test
    for module in (heads, drawn, measured, fitted, models, people, export, types, errors, look)
    for test in doctest.DocTestFinder().find(module, "imhead")
    if test.examples
]


# values of these come from the verbs, whose examples show them; the last is a word
_SHOWN = {"EditableHead", "FittedHead", "MorphableModel", "__version__"}


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What the examples take for granted."""
    model = imhead.load(device="cpu")
    fitted = model.fit(DEMO_SCAN, config=imhead.FitConfig(resolution=96))
    demo = read_scan(DEMO_SCAN)
    second = Scan("second", demo.points[::3, [1, 2, 0]])  # turned by 120 degrees
    person = model.fit_person([DEMO_SCAN, second], config=imhead.FitConfig(resolution=96, points=2000, detail=False))
    return {
        "imhead": imhead, "np": np, "model": model, "head": model.sample(seed=7)[0], "fitted": fitted,
        "demo_scan": DEMO_SCAN, "second_scan": second, "person": person,
    }  # fmt: skip


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_does_what_it_says(example: doctest.DocTest, names: dict[str, Any], tmp_path: Path) -> None:
    example.globs = {**names, "out": tmp_path}
    told: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS).run(example, out=told.append)
    assert not told, "".join(told)


@pytest.mark.parametrize(
    "kind",
    [imhead.EditableHead, drawn.DrawnHead, measured.MeasuredHead, imhead.FittedHead, people.FittedPerson,
     imhead.MorphableModel],
)  # fmt: skip
def test_every_public_method_has_an_example(kind: type) -> None:
    shown = {test.name for test in EXAMPLES}
    methods = {f"imhead.{kind.__name__}.{name}" for name, value in vars(kind).items()
               if callable(value) and not name.startswith("_")}  # fmt: skip
    assert methods <= shown


def test_every_public_name_has_an_example() -> None:
    sources = "".join(example.source for test in EXAMPLES for example in test.examples)
    assert not [name for name in imhead.__all__ if name not in _SHOWN and f"imhead.{name}" not in sources]


@pytest.mark.parametrize("name", imhead.__all__)
def test_every_public_name_is_in_the_reference(name: str) -> None:
    pages = Path(__file__).resolve().parents[1].glob("docs/api/*.md")
    assert any(f"::: imhead.{name}\n" in page.read_text(encoding="utf-8") for page in pages)
