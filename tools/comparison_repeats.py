"""Learns how well each measurement repeats, from virtual patients who are scanned twice.

    python tools/comparison_repeats.py path/to/ict_facekit_light.npz [--first 100] [--patients 20] [--cases FILE]

Writes `src/imhead/change/repeats.json`: the technical error of each measurement, of how many pairs of scans, and the
noise of these comparisons. Takes about two minutes a patient on a quiet core. The cases are kept as lines of JSON in
the file that is named; a run that was stopped goes on with them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from imhead import load
from imhead.change.config import ChangeConfig
from imhead.change.measured import REPEATS_FILE
from imhead.evaluation.cases import HeldOutSource
from imhead.evaluation.runner import CaseRunner
from imhead.evaluation.surgery import surgery_case, technical_errors
from imhead.fitting.start import pose_template
from imhead.sources.ict import read_ict

TARGET = Path(__file__).resolve().parents[1] / "src" / "imhead" / "change" / REPEATS_FILE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ict", type=Path)
    parser.add_argument("--first", type=int, default=100)
    parser.add_argument("--patients", type=int, default=20)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--cases", type=Path, default=Path("out/repeats.jsonl"))
    given = parser.parse_args()
    model = load(device="cpu").model
    source = HeldOutSource.composed(read_ict(given.ict))
    pose_template(model)  # made once, before the workers are forked
    given.cases.parent.mkdir(parents=True, exist_ok=True)
    known = given.cases.read_text().splitlines() if given.cases.is_file() else []
    done = {(case["name"], case["expression"]) for case in map(json.loads, known)}
    patients = range(given.first, given.first + given.patients)
    wanted = [(k, slight) for k in patients for slight in (False, True) if (f"patient_{k:03d}", slight) not in done]

    def keep(line: str) -> None:
        with given.cases.open("a") as file:
            file.write(line + "\n")

    CaseRunner(keep, given.processes).run(
        lambda row: surgery_case(model, source, *wanted[row], ChangeConfig()), len(wanted)
    )
    cases = [case for case in map(json.loads, given.cases.read_text().splitlines()) if "refused" not in case]
    noise = float(np.mean([case["noise_mm"] for case in cases]))
    errors = {name: round(value, 3) for name, value in sorted(technical_errors(cases).items())}
    learnt = {"noise_mm": round(noise, 3), "pairs": len(cases), "errors": errors}
    TARGET.write_text(json.dumps(learnt, indent=2) + "\n")


if __name__ == "__main__":
    main()
