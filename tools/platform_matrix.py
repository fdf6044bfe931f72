"""Print for which platforms and Python versions each dependency has a wheel, as the table of docs/install.md.

python tools/platform_matrix.py

It asks the package index through pip, as `pip download --only-binary=:all: --platform …` would, but downloads no wheel.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
EXTRAS = ("websockets>=14.0", "DracoPy>=1.5", "usd-core>=24.11")
PLATFORMS: dict[str, tuple[str, ...]] = {
    "Linux x86-64": ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"),
    "Linux aarch64": (
        "manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64",
    ),
    "macOS arm64": ("macosx_14_0_arm64",),
    "macOS x86-64": ("macosx_14_0_x86_64",),
    "Windows x86-64": ("win_amd64",),
}  # fmt: skip
"""Name of a platform → the tags of the wheels that it takes, beside `any`."""


def dependencies() -> list[str]:
    """The requirements of the package, without their markers: where they hold is what the table shows."""
    listed = re.search(r"^dependencies = \[(.*?)^\]", PYPROJECT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert listed is not None
    return [line.split(";")[0].strip() for line in re.findall(r'^ *"([^"]+)"', listed[1], re.MULTILINE)]


def wheels(requirements: Sequence[str], tags: Sequence[str], python: str) -> dict[str, str] | None:
    """Package → version of the newest wheels for a platform, or None where one of them has none."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--isolated", "--no-deps", "--report", "-",
            "--only-binary=:all:", "--target", folder, "--python-version", python,
            *(part for tag in tags for part in ("--platform", tag)), *requirements,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return None
    return {row["metadata"]["name"].lower(): row["metadata"]["version"] for row in json.loads(done.stdout)["install"]}


def has_wheels(requirements: Sequence[str], tags: Sequence[str], python: str) -> dict[str, bool]:
    """Requirement → whether it has a wheel; each is asked for alone only where they do not have one all together."""
    if wheels(requirements, tags, python) is not None:
        return dict.fromkeys(requirements, True)
    return {one: wheels([one], tags, python) is not None for one in requirements}


def main() -> None:
    """Print the table."""
    needed = [*dependencies(), *EXTRAS]
    found = {
        (platform, python): has_wheels(needed, tags, python)
        for platform, tags in PLATFORMS.items()
        for python in PYTHONS
    }
    print(f"| package | {' | '.join(PLATFORMS)} |")
    print("|---|" + "---|" * len(PLATFORMS))
    for requirement in needed:
        cells = []
        for platform in PLATFORMS:
            with_wheel = [python for python in PYTHONS if found[platform, python][requirement]]
            cells.append("yes" if len(with_wheel) == len(PYTHONS) else ", ".join(with_wheel) or "no")
        print(f"| {re.split('[<>=]', requirement)[0]} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
