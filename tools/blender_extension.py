"""The Blender extension as a zip that Blender installs.

    python tools/blender_extension.py [OUT]

Writes OUT/imhead-VERSION.zip; OUT is out/blender unless given. The same sources give the same bytes.
"""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "integrations" / "blender"
_DATE = (1980, 1, 1, 0, 0, 0)


def built(out: Path) -> Path:
    """Write the zip into a folder; its path."""
    manifest = (SOURCE / "blender_manifest.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "([\d.]+)"$', manifest, re.MULTILINE)
    assert version is not None, "the manifest names no version"
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"imhead-{version[1]}.zip"
    files = sorted(file for file in SOURCE.iterdir() if file.suffix in (".py", ".toml", "") and file.is_file())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            about = zipfile.ZipInfo(file.name, _DATE)
            about.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(about, file.read_bytes())
    return path


if __name__ == "__main__":
    print(built(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("out/blender")))
