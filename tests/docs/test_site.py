"""The pages become a site without a warning."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_examples_of_a_docstring_become_code_and_nothing_else_changes() -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("griffe")
    from tools.docs_site import fenced

    assert fenced("A line.\n\n>>> 1 + 1\n2\n\nMore.") == "A line.\n\n\n```pycon\n>>> 1 + 1\n2\n```\n\nMore."
    assert fenced("No example > here.") == "No example > here."


def test_links_that_leave_the_folder_of_the_pages_lead_to_places_of_the_site() -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("griffe")
    from tools.docs_site import rewritten

    assert rewritten("[a](docs/install.md) [b](CHANGELOG.md) [c](examples)", "index.md") == (
        "[a](install.md) [b](changelog.md) [c](files/examples/index.md)"
    )
    assert rewritten("[a](../../CITATION.cff) [b](../cohort.md#two-groups)", "quickstart/researchers.md") == (
        "[a](../files/CITATION.cff) [b](../cohort.md#two-groups)"
    )
    elsewhere = "[a](https://example.org/a.md) [b](#below)"
    assert rewritten(elsewhere, "index.md") == elsewhere


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "api" / "heads.html").read_text(encoding="utf-8")
    assert "imhead.EditableHead" in text and "reach_target" in text and 'class="gp"' in text  # a highlighted >>>
    assert not re.search(r'(src|stylesheet" href)="https?:', text)  # a reader's browser asks nobody else
    assert (tmp_path / "quickstart" / "surgeons.html").is_file() and (tmp_path / "files" / "LICENSE").is_file()
