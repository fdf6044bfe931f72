"""Learns how well each measurement repeats, from virtual patients who are scanned twice.

    python tools/comparison_repeats.py path/to/ict_facekit_light.npz [--patients 20] [--processes 2]

Writes `src/imhead/change/repeats.json`: the technical error of each measurement, and the noise of these comparisons.
Takes about a minute a patient on two quiet cores.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from imhead import load
from imhead.change.config import ChangeConfig
from imhead.change.measured import REPEATS_FILE
from imhead.evaluation.cases import HeldOutSource
from imhead.evaluation.runner import CaseRunner
from imhead.evaluation.surgery import surgery_cases, technical_errors
from imhead.sources.ict import read_ict

TARGET = Path(__file__).resolve().parents[1] / "src" / "imhead" / "change" / REPEATS_FILE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ict", type=Path)
    parser.add_argument("--patients", type=int, default=20)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    model = load(device="cpu").model
    source = HeldOutSource.composed(read_ict(given.ict))
    runner = CaseRunner(lambda line: print(line, file=sys.stderr), given.processes)
    cases = surgery_cases(model, source, given.patients, ChangeConfig(), runner)
    noise = float(np.mean([case["noise_mm"] for case in cases if "refused" not in case]))
    errors = {name: round(value, 3) for name, value in sorted(technical_errors(cases).items())}
    TARGET.write_text(json.dumps({"noise_mm": round(noise, 3), "errors": errors}, indent=2) + "\n")


if __name__ == "__main__":
    main()
