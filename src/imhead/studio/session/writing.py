"""Write a file of a head in a process of its own: `python -m imhead.studio.session.writing KIND FOLDER MODEL REGIONS`.

The folder holds the head now and the head before, `NOW` and `BEFORE`, and the take that an avatar plays, if it plays
one, as `TAKE`; the file is written there as `OUT`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from imhead.checkpoint import Model, load_head, load_model, save_head
from imhead.errors import InputError
from imhead.io.live_link import Take
from imhead.studio.session import exports
from imhead.studio.session.child import answer_of, refused, say, started
from imhead.studio.session.exports import KINDS, ExportedFile, export_head, file_name
from imhead.studio.session.jobs import Job
from imhead.studio.session.takes import read_take_file, take_file
from imhead.studio.state.document import Document, NamedHead

NOW, BEFORE, TAKE, OUT = "now.safetensors", "before.safetensors", "take", "out"


def written_apart(
    kind: str, model: Model, document: Document, selection: tuple[str, ...], take: Take | None, job: Job
) -> ExportedFile:
    """`export_head` in a process of its own, which ends when the job is cancelled.

    Raises:
        InputError: the head cannot be written as that kind.
        Cancelled: the job was.
    """
    name = file_name(document, KINDS[kind])
    with tempfile.TemporaryDirectory(prefix="imhead-export-") as place:
        folder = Path(place)
        save_head(document.head, folder / NOW)
        save_head(document.current.origin, folder / BEFORE)
        if take is not None:
            (folder / TAKE).write_bytes(take_file(take))
        words = (kind, str(folder), str(model.path or "default"), ",".join(selection), str(exports.RESOLUTION))
        with started(__name__, words) as process:
            try:
                job.when_cancelled(process.kill)
                refusal = answer_of(process, None)
            finally:
                process.kill()
        job.check()
        if refusal is None:
            raise refused(name)
        if refusal:
            raise InputError(refusal)
        return ExportedFile(name, (folder / OUT).read_bytes())


def _write(kind: str, folder: Path, model_path: str, selection: tuple[str, ...]) -> None:
    model = load_model(model_path)
    now, before = (load_head(folder / name, model) for name in (NOW, BEFORE))
    document = Document((NamedHead("head", now, before),), 0)
    take = read_take_file(folder / TAKE) if (folder / TAKE).is_file() else None
    (folder / OUT).write_bytes(export_head(kind, model, document, selection, take).content)


def _main(kind: str, folder: str, model_path: str, selection: str, resolution: str) -> None:
    print("started", flush=True)
    exports.RESOLUTION = int(resolution)
    try:
        _write(kind, Path(folder), model_path, tuple(filter(None, selection.split(","))))
    except InputError as error:
        say(str(error))
    else:
        say("")


if __name__ == "__main__":
    _main(*sys.argv[1:])
