"""The colours of a head beside its file, named by their hash: heads that share a skin share the files."""

from __future__ import annotations

import re
from pathlib import Path

from imhead.io.atomic import write_atomically
from imhead.types import SkinImage

_MOST_BYTES = 64 << 20
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAMED = 16  # figures of the hash in a file's name


def is_digest(text: str) -> bool:
    """Whether a text is a hash of a skin."""
    return _DIGEST.fullmatch(text) is not None


def skin_names(digest: str) -> tuple[str, str]:
    """The names of the picture and of its mask."""
    return f"skin-{digest[:_NAMED]}.jpg", f"skin-{digest[:_NAMED]}-seen.png"


def save_skin(skin: SkinImage, folder: Path) -> None:
    """Write the picture and its mask, unless they are there.

    Raises:
        InputError: they cannot be written; one line.
    """
    if load_skin(folder, skin.digest, skin.tone) is None:
        for name, data in zip(skin_names(skin.digest), (skin.picture, skin.mask)):
            write_atomically(folder / name, data)


def load_skin(folder: Path, digest: str, tone: str, eyes: str = "") -> SkinImage | None:
    """The skin with a hash in a folder; None where it is missing, cannot be read, or is another one."""
    if not is_digest(digest):
        return None
    parts = []
    for name in skin_names(digest):
        try:
            with (folder / name).open("rb") as opened:
                parts.append(opened.read(_MOST_BYTES + 1))
        except (OSError, ValueError):
            return None
    skin = SkinImage(parts[0], parts[1], tone[:40], eyes[:40])
    return skin if skin.digest == digest and max(map(len, parts)) <= _MOST_BYTES else None


def lost_skin(digest: str) -> str:
    """A sentence about a skin that is not beside its head."""
    return (
        f"The head's own colours, {skin_names(digest)[0]} with its mask, are not beside it, so its skin was painted; "
        "copy both files there."
    )
