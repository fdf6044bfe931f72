"""Why a scan is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

ProblemKind = Literal[
    "unreadable", "no_head", "two_heads", "pose", "unit", "mirrored", "partial", "surface", "stranger", "duplicate",
    "implausible", "rejected",
]  # fmt: skip
"""`pose`: the head is found elsewhere from another start; `surface`: it is no face's, but torn, smeared or noisy;
`stranger`: it shows somebody else than the person's other scans; `implausible`: no head of the population is like it;
`rejected`: by a person, in decisions.csv."""
PROBLEM_KINDS: tuple[str, ...] = get_args(ProblemKind)
SOUGHT = frozenset({"no_head", "pose"})
"""Kinds of scans whose place is not sure: each is looked for again with its person's own head."""


@dataclass(frozen=True)
class Problem:
    """One reason against a scan."""

    kind: ProblemKind
    """Which."""
    sentence: str
    """What is wrong, with its figure, in one sentence."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.sentence}"
