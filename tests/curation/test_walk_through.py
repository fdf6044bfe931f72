"""The page's walk through runs as it stands."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_walk_through_of_the_page_goes_from_raw_scans_to_a_second_round(ict_path: Path, tmp_path: Path) -> None:
    block = re.search(r"```sh\n(.*?)```", (ROOT / "docs" / "curation.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, words in (("python", sys.executable), ("imhead", f"{sys.executable} -m imhead")):
        (programs / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (programs / name).chmod(0o755)
    (tmp_path / "tools").symlink_to(ROOT / "tools")
    environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "IMHEAD_ICT": str(ict_path)}
    subprocess.run(["bash", "-e", "-c", block[1]], cwd=tmp_path, env=environment, check=True)
    with (tmp_path / "curated" / "rounds.csv").open(newline="") as lines:
        rounds = list(csv.DictReader(lines))
    assert len(rounds) == 2 and rounds[0]["model"] != rounds[1]["model"]
    assert rounds[0]["accepted"] == "4" and rounds[0]["refused"] == "2"
    assert int(rounds[1]["scans_compared"]) >= 3
    page = (tmp_path / "curated" / "index.html").read_text()
    assert "<h2>Rounds</h2>" in page
