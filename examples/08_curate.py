"""Curate a folder of raw scans: what can be learnt from, and what is left out and why.

python examples/08_curate.py FOLDER OUT_FOLDER [JOBS]
"""

from __future__ import annotations

import sys
from pathlib import Path

import imhead
from imhead.curation.config import CurationConfig


def main(folder: Path, out: Path, config: CurationConfig | None = None, jobs: int = 1) -> None:
    """Write people to learn from, a table and a page; a second call does only what is new."""

    def show(what: str, done: int, total: int) -> None:
        print(f"{what}: {done} of {total}")

    found = imhead.load(device="cpu").curate(folder, out, jobs=jobs, config=config or CurationConfig(), progress=show)
    for entry in found.entries:
        print(f"{entry.raw.file}, {entry.raw.person}: {entry.verdict.reason or 'accepted'}")
    print(f"{found.report()['people']} people; look at {out / 'index.html'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), jobs=int(sys.argv[3]) if len(sys.argv) > 3 else 1)
