"""Inputs that once went wrong, and some thousand new ones, open or are refused as they should be."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from tests.fuzz.campaign import BESIDE, CORPUS, Campaign, made, run, smallest, trials
from tests.fuzz.mutations import LONGEST, changed
from tests.fuzz.seeds import KINDS
from tests.fuzz.trial import OPEN, Trial

from imhead.io.limits import can_limit
from imhead.io.scan_file import SCAN_EXTENSIONS

pytestmark = pytest.mark.skipif(not can_limit(), reason="this system has no limits of processes")

KEPT = sorted(path for path in CORPUS.glob("*/*/*") if path.name != BESIDE)
SOME = {"scan": 60, "landmarks": 40, "take": 20, "head": 40, "model_file": 40, "project": 8}


def told(trial: Trial) -> str:
    return f"{trial.said} ({trial.seconds:.1f} s, {trial.grown / 1e6:.0f} MB)"


def test_every_kind_of_file_has_seeds_that_open(tmp_path: Path) -> None:
    everything = [(kind, seed) for kind in KINDS for seed in KINDS[kind]()]

    def inputs(number: int) -> tuple[str, str, bytes, bytes]:
        kind, seed = everything[number]
        return kind, seed.name, seed.data, seed.beside

    outcomes = [trial for _, trial in trials(inputs, range(len(everything)))]
    wrong = [told(trial) for trial in outcomes if trial.outcome == "wrong"]
    assert not wrong
    opened = {(kind, Path(seed.name).suffix) for (kind, seed), t in zip(everything, outcomes) if t.outcome == "read"}
    assert {suffix for kind, suffix in opened if kind == "scan"} >= set(SCAN_EXTENSIONS) - {".usd"}
    assert {kind for kind, _ in opened} == set(OPEN)


def test_no_input_that_once_went_wrong_does_so_again() -> None:
    def inputs(number: int) -> tuple[str, str, bytes, bytes]:
        path = KEPT[number]
        beside = path.with_name(BESIDE)
        return path.parts[-3], path.name, path.read_bytes(), beside.read_bytes() if beside.exists() else b""

    assert KEPT, "the corpus is not there"
    wrong = [f"{KEPT[k]}: {told(trial)}" for k, trial in trials(inputs, range(len(KEPT))) if trial.outcome == "wrong"]
    assert not wrong


@pytest.mark.parametrize("kind", SOME)
def test_changed_files_open_or_are_refused_within_their_bounds(kind: str) -> None:
    found = list(trials(lambda number: (kind, *made(kind, number, 0)), range(SOME[kind])))
    assert len(found) == SOME[kind]
    assert not [f"{number}: {told(trial)}" for number, trial in found if trial.outcome == "wrong"]
    assert {trial.outcome for _, trial in found} == {"read", "refused"}, "changes that leave all or nothing test little"


def test_a_head_opens_in_a_process_forked_from_one_that_has_used_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        (torch.ones(300, 300) @ torch.ones(300, 300)).sum()
        torch.ones(1 << 20).half().float()
        ((_, trial),) = trials(lambda _: ("head", KINDS["head"]()[0].name, KINDS["head"]()[0].data, b""), range(1))
    finally:
        torch.set_num_threads(before)
    assert trial.outcome == "read", told(trial)


def test_an_input_is_a_function_of_its_number_and_never_longer_than_allowed() -> None:
    for kind in ("scan", "head", "landmarks"):
        for number in range(30):
            assert made(kind, number, 5) == made(kind, number, 5)
            assert len(made(kind, number, 5)[1]) <= LONGEST
    assert len({made("scan", number, 5)[1] for number in range(30)}) == 30
    data = KINDS["landmarks"]()[0].data
    assert changed(data, [data], random.Random(1)) == changed(data, [data], random.Random(1))


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader of landmarks with a fault at a word, one that takes memory, and one that dies."""

    def read(path: Path) -> None:
        data = path.read_bytes()
        if b"nose" in data:
            raise KeyError("fault")
        if b"large" in data:
            bytearray(200_000_000)
        if b"death" in data:
            import os

            os._exit(7)

    monkeypatch.setitem(OPEN, "landmarks", read)


@pytest.mark.usefixtures("faulty")
def test_a_campaign_finds_wrong_exceptions_memory_and_death_and_goes_on() -> None:
    data = [b"fine", b"the nose tip", b"too large", b"fine", b"death", b"fine"]
    found = [trial for _, trial in trials(lambda number: ("landmarks", "a.json", data[number], b""), range(6))]
    assert [trial.outcome for trial in found] == ["read", "wrong", "wrong", "read", "wrong", "read"]
    assert found[1].sign == "KeyError" and "MB for" in found[2].said and "ended with 7" in found[4].said


@pytest.mark.usefixtures("faulty")
def test_what_goes_wrong_is_kept_as_small_as_it_goes() -> None:
    assert smallest("landmarks", "a.json", b"x" * 40 + b"nose" + b"y" * 60, b"", "KeyError") == b"nose"


@pytest.mark.usefixtures("faulty")
def test_a_campaign_goes_on_where_it_was_ended_and_counts_everything_once(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    run(Campaign(state, 3), {"landmarks": 20}, tmp_path / "corpus")
    first = Campaign(state, 3).counts("landmarks")
    run(Campaign(state, 3), {"landmarks": 40}, tmp_path / "corpus")
    whole = Campaign(state, 3)
    assert first["next"] == 20 and whole.counts("landmarks")["next"] == 40
    assert sum(whole.counts("landmarks")[name] for name in ("read", "refused", "wrong")) == 40
    (fault,) = whole.state["faults"].values()
    kept = tmp_path / "corpus" / fault["file"]
    assert kept.read_bytes() == b"nose"
    assert Campaign(state, 4).counts("landmarks")["next"] == 0, "another seed is another campaign"
