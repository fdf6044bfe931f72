"""Fit every scan of a folder and collect the figures in one table; a scan without a face stops nothing.

python examples/06_batch.py FOLDER OUT_FOLDER
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import imhead
from imhead.io.scan_file import SCAN_EXTENSIONS

COLUMNS = ("scan", "median_mm", "explained", "identity_sigma", "warnings", "error")


def main(folder: Path, out: Path, config: imhead.FitConfig | None = None) -> None:
    """Write a folder for each scan, and summary.csv."""
    model = imhead.load()
    rows = []
    for scan in sorted(path for path in folder.iterdir() if path.suffix.lower() in SCAN_EXTENSIONS):
        try:
            report = model.fit(scan, config=config or imhead.FitConfig()).write(out / scan.stem)
        except imhead.InputError as error:
            rows.append({"scan": scan.name, "error": str(error)})
            continue
        rows.append(
            {
                "scan": scan.name,
                "median_mm": report["scan_to_head_mm"]["median"],
                "explained": report["explained_fraction"],
                "identity_sigma": report["identity_sigma"],
                "warnings": "; ".join(report["warnings"]),
            }
        )
    with (out / "summary.csv").open("w", newline="", encoding="utf-8") as table:
        writer = csv.DictWriter(table, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} scans, in {out / 'summary.csv'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
