"""Learn the constants of a fit's certainty for a model, from virtual scans of held-out heads and from real scans.

    python tools/certainty_calibration.py ICT_FACEKIT [--scans FOLDER] [--model NAME] [--heads 40]

Run it when the weights have changed; without constants of its own, a model's certainty says that it is not calibrated.
`imhead eval --suite certainty` counts on other heads how well they hold.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from imhead.checkpoint import load_model
from imhead.evaluation.cases import HeldOutSource
from imhead.evaluation.certainty import learn_calibration
from imhead.evaluation.hidden import real_scans
from imhead.evaluation.runner import CaseRunner
from imhead.evaluation.unseen import ict_heads, linear_competitor
from imhead.fitting import certainty
from imhead.fitting.certainty import CALIBRATION_FILE, calibration_json
from imhead.fitting.config import FitConfig
from imhead.fitting.start import pose_template
from imhead.io.atomic import write_atomically
from imhead.sources.ict import read_ict


def main() -> None:
    """Learn the constants and write them beside `fitting/certainty.py`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ict", type=Path, help="ICT-FaceKit")
    parser.add_argument("--scans", type=Path, help="real scans, of which discs are hidden")
    parser.add_argument("--model", default="default")
    parser.add_argument("--heads", type=int, default=40)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    model, ict, config = load_model(given.model), read_ict(given.ict), FitConfig()
    source = HeldOutSource.composed(ict)
    scans = None
    if given.scans is not None:
        template = pose_template(model)
        linear = linear_competitor(ict_heads(ict, source.seen_faces()), template, config)
        scans = real_scans(given.scans, linear, template.nose_tip_mm)
    runner = CaseRunner(lambda line: print(line, file=sys.stderr), given.processes)
    found = learn_calibration(model, source, given.heads, config, runner, scans)
    path = Path(certainty.__file__).with_name(CALIBRATION_FILE)
    write_atomically(path, calibration_json(found, model).encode())
    print(f"{found}, in {path}")


if __name__ == "__main__":
    main()
