"""The search for the nearest reachable change takes a bounded number of steps, whatever is asked for."""

from __future__ import annotations

import pytest

from imhead import InputError, load
from imhead.editing import targets


@pytest.mark.parametrize("change", [-500.0, 0.3, 499.9])
def test_a_change_that_nothing_reaches_is_refused_after_a_bounded_search(
    monkeypatch: pytest.MonkeyPatch, change: float
) -> None:
    tried: list[object] = []
    monkeypatch.setattr(targets, "_solve", lambda problem, wanted: tried.append(wanted))
    head = load(device="cpu").neutral()
    with pytest.raises(InputError, match=r"nearest reachable value .* a change of [+-]0\.0mm"):
        head.reach_target("nose", {"tip_projection": change})
    assert 1 <= len(tried) <= 40


def test_a_change_at_the_edge_of_rounding_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step of the search succeeds, and none of the rounded ones that follow."""
    tried: list[float] = []

    def solve(problem: object, wanted: object) -> object:
        tried.append(float(wanted[0]))  # type: ignore[index]
        return None if len(tried) == 1 or len(tried) > 16 else object()

    monkeypatch.setattr(targets, "_solve", solve)
    with pytest.raises(InputError, match="nearest reachable"):
        load(device="cpu").neutral().reach_target("nose", {"tip_projection": 400.0})
    assert len(tried) <= 40
