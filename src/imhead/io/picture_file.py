"""Pictures to files, whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from imhead.io.atomic import write_atomically


def write_picture(picture: Image.Image, path: Path, compress_level: int = 6) -> None:
    """Write a PNG, replacing the file in one step.

    Args:
        compress_level: from 1, fast, to 9, small.

    Raises:
        InputError: as `write_atomically`.
    """
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=compress_level)
    write_atomically(path, buffer.getvalue())
