"""Fit a scan: the head, its surface in the scan's own frame, and a report.

python examples/01_fit.py SCAN OUT_FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import imhead


def main(scan: Path, out: Path) -> None:
    """Write what `imhead fit` writes into `out`."""
    head = imhead.fit(scan)
    report = head.write(out)
    spread = report["scan_to_head_mm"]
    print(head)
    print(f"median {spread['median']:.2f} mm, nine in ten below {spread['p90']:.2f} mm, unit {report['units']}")
    for warning in report["warnings"]:
        print("warning:", warning)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
