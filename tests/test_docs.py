"""Pages keep their promises: links lead somewhere, commands are taken, decisions are short and have a status."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import imhead
from imhead.cli.commands import command
from imhead.editing.words import words_for
from imhead.measure.table import measurement
from imhead.regions import resolve

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
DECISIONS = sorted(ROOT.glob("docs/decisions/[0-9]*.md"))
LINK = re.compile(r"\]\(([^)#\s]+)")
SHELL = re.compile(r"^```sh\n(.*?)^```|^ {4}(imhead [^\n]+)$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^imhead (.+)$", re.MULTILINE)
STATUS = re.compile(r"^\*Status: (accepted|superseded by \[)", re.MULTILINE)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert not [link for link in links if not (page.parent / link).exists()]


def commands_of(page: Path) -> list[list[str]]:
    """The words of every command of imhead that stands on a line of its own in a page."""
    blocks = [block or line for block, line in SHELL.findall(page.read_text(encoding="utf-8"))]
    lines = COMMAND.findall("\n".join(blocks).replace("\\\n", " "))
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[: line.index("|")] if "|" in line else line for line in words if "…" not in "".join(line)]


@pytest.mark.parametrize("page", [page for page in PAGES if commands_of(page)], ids=name)
def test_every_command_of_a_page_is_one_that_imhead_takes(page: Path) -> None:
    """It is parsed, not run; regions, words and measurements of an edit are known."""
    for words in commands_of(page):
        group, context = command, command.make_context("imhead", words, resilient_parsing=True)
        while hasattr(group, "resolve_command"):
            called, group, words = group.resolve_command(context, words)
            context = group.make_context(called, list(words), parent=context)
        values = context.params
        if context.info_name == "edit":
            regions = resolve(values["region"])
            assert values["direction"] is None or values["direction"] in words_for(regions)
            assert all(measurement(target.partition("=")[0]) for target in values["target"] or ())


@pytest.mark.parametrize("page", DECISIONS, ids=name)
def test_a_decision_has_a_status_and_250_words_at_most(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert STATUS.search(text), "a line *Status: accepted* or *Status: superseded by [NNNN](file)*"
    assert len(text.split()) <= 250


def test_the_citation_and_the_changelog_know_the_version() -> None:
    assert f"\nversion: {imhead.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## {imhead.__version__}\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_index_names_every_decision() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")
    assert not [page.name for page in DECISIONS if page.name not in index]
