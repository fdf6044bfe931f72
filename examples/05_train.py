"""Train a model of your own from Python: a data set, a run that resumes, a head drawn from it.

python examples/05_train.py ICT_FACEKIT OUT_FOLDER

The settings are tiny, so that it ends within a minute and learns little; `imhead train default` is the real run.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import imhead
from imhead.datasets.dataset import build_dataset, open_dataset
from imhead.datasets.heads import open_sources
from imhead.datasets.recipe import Recipe
from imhead.io.mesh_file import write_mesh
from imhead.training.config import PRESETS
from imhead.training.loop import train
from imhead.training.pictures import save_run_model
from imhead.training.population import TrainingHeads


def main(ict: Path, out: Path, steps: int = 30) -> None:
    """Write a data set, a run and a drawn head into `out`."""
    recipe = Recipe({"ict": 0.4, "compose": 0.6}, identities=12, expressions=3, seed=0)
    sources = open_sources(tuple(recipe.shares), ict, None, print)
    build_dataset(recipe, sources, out / "data")
    heads = TrainingHeads(open_dataset(out / "data"), sources)
    config = replace(PRESETS["tiny"], steps=steps)
    learner = train(config, heads, out / "run", resume=True, progress=print)
    path = save_run_model(learner, config, out / "run", heads.data.manifest, {})
    write_mesh(imhead.load(path).sample(seed=1)[0].mesh(resolution=96), out / "drawn.ply")
    print(f"a model in {path}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
