"""Open changed files by the hundred thousand: `python -m tests.fuzz.campaign --count 100000`.

Each input is a function of the seed and its number, so that a campaign goes on where it was ended. Inputs that go wrong
are made as small as they go and kept in `tests/fuzz/corpus`, which the tests open again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.fuzz.mutations import changed
from tests.fuzz.seeds import BESIDE, KINDS, Seed
from tests.fuzz.trial import Trial, attempt, prepare

from imhead.io.atomic import write_atomically
from imhead.io.scan_file import SCAN_EXTENSIONS

CORPUS = Path(__file__).parent / "corpus"
SHARES = {"scan": 100, "landmarks": 4, "take": 4, "head": 6, "model_file": 2, "project": 4}
"""How many inputs of each kind, beside 100 scans."""
_BATCH = 500
_WAIT_S = 120.0  # on the clock, for one input
_SMALLEST_TRIES = 60


def made(kind: str, number: int, seed: int) -> tuple[str, bytes, bytes]:
    """The name of an input, its bytes, and those of the file beside it."""
    rng = random.Random(f"{seed} {kind} {number}")
    seeds = KINDS[kind]()
    chosen: Seed = rng.choice(seeds)
    data = changed(chosen.data, [other.data for other in seeds], rng)
    name = chosen.name
    if kind == "scan" and rng.random() < 0.02:
        name = "a" + rng.choice(SCAN_EXTENSIONS)
    beside = changed(chosen.beside, [chosen.data], rng) if chosen.beside and rng.random() < 0.3 else chosen.beside
    return name, data, beside


def opened(kind: str, name: str, data: bytes, beside: bytes, folder: Path) -> Trial:
    """Write an input and open it."""
    path = folder / name
    path.write_bytes(data)
    if beside:
        (folder / BESIDE).write_bytes(beside)
    try:
        return attempt(kind, path)
    finally:
        path.unlink()
        (folder / BESIDE).unlink(missing_ok=True)


def _serve(inputs: Callable[[int], tuple[str, str, bytes, bytes]], numbers: range, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare()
    with tempfile.TemporaryDirectory(prefix="imhead-fuzz-") as folder:
        for number in numbers:
            pipe.send(opened(*inputs(number), Path(folder)))


def trials(inputs: Callable[[int], tuple[str, str, bytes, bytes]], numbers: range) -> Iterator[tuple[int, Trial]]:
    """The trials of inputs by their number, in a process with limits; one that ends it is wrong, and a new one follows.

    Args:
        inputs: number → kind, name, bytes, and bytes of the file beside.
        numbers: in rising order.
    """
    while numbers:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("fork").Process(target=_serve, args=(inputs, numbers, theirs))
        process.start()
        theirs.close()
        done = numbers.start
        try:
            while done < numbers.stop and ours.poll(_WAIT_S):
                yield done, ours.recv()
                done += 1
        except EOFError:
            pass
        finally:
            process.kill()
            process.join()
            ours.close()
        if done < numbers.stop:
            code = process.exitcode
            yield done, Trial("wrong", f"its process ended with {code}", f"ended {code}", 0.0, 0.0)
            done += 1
        numbers = range(done, numbers.stop)


def smallest(kind: str, name: str, data: bytes, beside: bytes, sign: str) -> bytes:
    """The input without the parts that its fault does not need."""
    tries = 0
    size = max(1, len(data) // 2)
    while size and tries < _SMALLEST_TRIES:
        at = 0
        while at < len(data) and tries < _SMALLEST_TRIES:
            shorter = data[:at] + data[at + size :]
            tries += 1
            ((_, trial),) = trials(lambda number, shorter=shorter: (kind, name, shorter, beside), range(1))  # type: ignore[misc]
            if trial.outcome == "wrong" and trial.sign == sign:
                data = shorter
            else:
                at += size
        size //= 2
    return data


def keep(kind: str, name: str, data: bytes, beside: bytes, trial: Trial, folder: Path) -> Path:
    """Keep an input that went wrong, as small as it goes."""
    data = smallest(kind, name, data, beside, trial.sign)
    word = "".join(c if c.isalnum() else "_" for c in trial.sign)[:60].strip("_")
    path = folder / kind / word / name
    write_atomically(path, data)
    if beside:
        write_atomically(path.with_name(BESIDE), beside)
    return path


class Campaign:
    """Counts of a campaign, on disk after every batch."""

    def __init__(self, path: Path, seed: int) -> None:
        """Begin, or go on where a file of the same seed was left."""
        self._path = path
        self.state: dict[str, Any] = {"seed": seed, "kinds": {}, "faults": {}}
        if path.is_file():
            kept = json.loads(path.read_text())
            if kept["seed"] == seed:
                self.state = kept

    def counts(self, kind: str) -> dict[str, Any]:
        """Next number, outcomes, and the largest cost of a kind."""
        empty = {"next": 0, "read": 0, "refused": 0, "wrong": 0, "seconds": 0.0, "grown_mb": 0.0}
        found: dict[str, Any] = self.state["kinds"].setdefault(kind, empty)
        return found

    def save(self) -> None:
        """Write the counts."""
        write_atomically(self._path, (json.dumps(self.state, indent=1) + "\n").encode())


def run(campaign: Campaign, targets: dict[str, int], corpus: Path) -> None:
    """Open inputs of every kind until there are as many of each as asked for, a batch of each in turn."""
    seed = campaign.state["seed"]
    while any(campaign.counts(kind)["next"] < count for kind, count in targets.items()):
        for kind, count in targets.items():
            counts = campaign.counts(kind)
            numbers = range(counts["next"], min(counts["next"] + _BATCH, count))

            def inputs(number: int, kind: str = kind) -> tuple[str, str, bytes, bytes]:
                return kind, *made(kind, number, seed)

            for number, trial in trials(inputs, numbers):
                counts["next"] = number + 1
                counts[trial.outcome] += 1
                counts["seconds"] = max(counts["seconds"], round(trial.seconds, 2))
                counts["grown_mb"] = max(counts["grown_mb"], round(trial.grown / 1e6, 1))
                if trial.outcome == "wrong":
                    _wrong(campaign, kind, number, trial, corpus)
            campaign.save()
            if numbers:
                shown = {k: v for k, v in counts.items() if k != "next"}
                print(f"{kind}: {counts['next']} of {count}, {shown}", flush=True)


def _wrong(campaign: Campaign, kind: str, number: int, trial: Trial, corpus: Path) -> None:
    faults = campaign.state["faults"]
    sign = f"{kind}: {trial.sign}"
    if sign in faults:
        faults[sign]["count"] += 1
        return
    faults[sign] = {"number": number, "count": 1, **asdict(trial)}
    print(f"WRONG {kind} {number}: {trial.said}", flush=True)
    campaign.save()
    kept = keep(kind, *made(kind, number, campaign.state["seed"]), trial, corpus)
    faults[sign]["file"] = str(kept.relative_to(corpus))


def main() -> int:
    """Run a campaign; 0 if nothing went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000, help="scans; other files in proportion")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--state", type=Path, default=Path("out/fuzz/state.json"), help="where counts are kept")
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="where inputs that go wrong are kept")
    parser.add_argument("--kind", choices=sorted(KINDS), action="append", help="only these kinds")
    options = parser.parse_args()
    kinds = options.kind or list(SHARES)
    targets = {kind: max(1, options.count * SHARES[kind] // 100) for kind in kinds}
    campaign = Campaign(options.state, options.seed)
    run(campaign, targets, options.corpus)
    faults = Counter({sign: fault["count"] for sign, fault in campaign.state["faults"].items()})
    for sign, count in faults.most_common():
        print(f"{count} × {sign}: {campaign.state['faults'][sign]['said']}")
    print(f"{sum(campaign.counts(kind)['next'] for kind in kinds)} files, {sum(faults.values())} wrong")
    return 1 if faults else 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    raise SystemExit(main())
