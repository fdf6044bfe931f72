"""Results of a track on disk, one file a frame, written whole as they are done: a killed run goes on where it was."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from imhead.checkpoint import check_tensors, read_tensors
from imhead.conventions import ARKIT_NAMES
from imhead.errors import InputError
from imhead.io.atomic import remove, write_atomically
from imhead.io.tensor_file import with_metadata
from imhead.types import FloatArray

FRAME_FORMAT = "imhead-frame-1"
UNKNOWNS = 6 + len(ARKIT_NAMES)
"""Of a frame: rotation (radians) and shift (mm) in the head frame, 52 ARKit weights."""
_RUN, _IDENTITY = "run.json", "identity.json"


@dataclass(frozen=True, eq=False)
class FrameRecord:
    """What one frame says, alone but for its start."""

    lost: str | None
    """Why it is lost; None where the head was found."""
    scan_to_head: FloatArray
    """(4, 4) scan frame and unit → head frame, mm; of a lost frame, that of its neighbour."""
    weights: FloatArray
    """(52,) ARKit weights."""
    hessian: FloatArray
    """(58, 58) of the frame's negative log posterior, about the result; zero of a lost frame."""
    gradient: FloatArray
    """(58,) of it there: not zero where a weight is held at 0 or 1."""
    figures: dict[str, Any]
    """Figures of the frame, ready for JSON."""


@dataclass(frozen=True)
class TrackStore:
    """The folder of a track's working files."""

    folder: Path
    """Made where missing."""

    def begin(self, mark: str) -> None:
        """Go on with the results in the folder if they belong to `mark`, else remove them.

        Raises:
            InputError: the folder cannot be written to; one line.
        """
        wanted = json.dumps({"fingerprint": mark}) + "\n"
        path = self.folder / _RUN
        try:
            if path.is_file() and path.read_text(encoding="utf-8", errors="replace") == wanted:
                return
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
        remove(path)
        remove(self.folder / _IDENTITY)
        for old in sorted(self.folder.glob("[0-9]*.safetensors")):
            remove(old)
        write_atomically(path, wanted.encode())

    def identity(self) -> dict[str, Any] | None:
        """What was kept of the identity's fit; None before it is done."""
        path = self.folder / _IDENTITY
        try:
            kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return kept

    def keep_identity(self, kept: dict[str, Any]) -> None:
        """Write what is to be kept of the identity's fit, once its head file is written."""
        write_atomically(self.folder / _IDENTITY, (json.dumps(kept, allow_nan=False) + "\n").encode())

    def read(self, index: int) -> FrameRecord | None:
        """The record of a frame; None where there is none, or a damaged one."""
        path = self._path(index)
        if not path.is_file():
            return None
        shapes = {"scan_to_head": (4, 4), "weights": (len(ARKIT_NAMES),), "gradient": (UNKNOWNS,)}
        try:
            tensors, metadata = read_tensors(path, "frame", FRAME_FORMAT)
            check_tensors(path, tensors, {**shapes, "hessian": (UNKNOWNS, UNKNOWNS)}, (torch.float32, torch.float64))
            figures = json.loads(metadata["figures"])
        except (InputError, KeyError, ValueError):
            return None
        arrays = {name: value.double().numpy() for name, value in tensors.items()}
        return FrameRecord(lost=metadata.get("lost"), figures=figures, **arrays)

    def write(self, index: int, record: FrameRecord) -> None:
        """Write the record of a frame."""
        tensors = {
            "scan_to_head": torch.from_numpy(np.ascontiguousarray(record.scan_to_head, dtype=np.float64)),
            "weights": torch.from_numpy(np.ascontiguousarray(record.weights, dtype=np.float64)),
            # a half of the file is saved by single precision, which is more than the matrix is known to
            "hessian": torch.from_numpy(np.ascontiguousarray(record.hessian, dtype=np.float32)),
            "gradient": torch.from_numpy(np.ascontiguousarray(record.gradient, dtype=np.float32)),
        }
        metadata = {"format": FRAME_FORMAT, "figures": json.dumps(record.figures, allow_nan=False)}
        if record.lost is not None:
            metadata["lost"] = record.lost
        write_atomically(self._path(index), with_metadata(save(tensors), metadata))

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:06d}.safetensors"
