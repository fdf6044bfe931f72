"""Change one region of a head and nothing else, in six ways, and report what moved.

python examples/02_edit.py HEAD.safetensors OUT_FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import imhead


def main(path: Path, out: Path) -> None:
    """Write a head file for each edit, and a before/after report of one."""
    model = imhead.load()
    head, other = model.open(path), model.sample(seed=8)[0]
    edits = {
        "drawn": head.sample("nose", seed=7, strength=1.5),
        "wider": head.along("nose", "wider", 1.0),
        "shorter": head.reach_target("nose", {"tip_projection": -1.0}),
        "taken": head.take_from("mouth", other),
        "mixed": head.blend("ears", [(other, 0.5)]),
        "symmetric": head.symmetrise("ears"),
    }
    for name, edited in edits.items():
        edited.save(out / f"{name}.safetensors")
        print(f"{name}: {edited.codes.provenance[-1]}")
    report = head.compare(edits["wider"], out / "compare", "nose", ("before", "wider"))
    print(f"outside the nose the surface moved by {report['movement_mm']['outside']['max']} mm")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
