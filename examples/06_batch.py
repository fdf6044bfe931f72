"""Fit every scan of a folder and collect the figures in one table; a scan without a face stops nothing.

python examples/06_batch.py FOLDER OUT_FOLDER [JOBS]
"""

from __future__ import annotations

import sys
from pathlib import Path

import imhead
from imhead.api.batch import fit_each, with_summary
from imhead.io.scan_file import SCAN_EXTENSIONS


def main(folder: Path, out: Path, config: imhead.FitConfig | None = None, jobs: int = 1) -> None:
    """Write a folder for each scan, and summary.csv."""
    model = imhead.load()
    scans = sorted(path for path in folder.iterdir() if path.suffix.lower() in SCAN_EXTENSIONS)
    settings = config or imhead.FitConfig()
    outcomes = fit_each(lambda path: model.fit(path, config=settings), scans, out, jobs=jobs)
    for outcome in with_summary(outcomes, scans, out):
        print(f"{outcome.scan.name}: {outcome.error or outcome.status}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), jobs=int(sys.argv[3]) if len(sys.argv) > 3 else 1)
