"""Pages keep their promises: links lead somewhere, decisions are short and have a status."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
DECISIONS = sorted(ROOT.glob("docs/decisions/[0-9]*.md"))
LINK = re.compile(r"\]\(([^)#\s]+)")
STATUS = re.compile(r"^\*Status: (accepted|superseded by \[)", re.MULTILINE)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert not [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", DECISIONS, ids=name)
def test_a_decision_has_a_status_and_250_words_at_most(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert STATUS.search(text), "a line *Status: accepted* or *Status: superseded by [NNNN](file)*"
    assert len(text.split()) <= 250


def test_the_index_names_every_decision() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")
    assert not [page.name for page in DECISIONS if page.name not in index]
