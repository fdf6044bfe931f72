"""Lay out a folder that the Hugging Face hub accepts as a model's repository, and that `imhead.load("hf:…")` opens.

    python tools/publish.py MODEL FOLDER --repository owner/name [--card docs/model_card.md] [--license apache-2.0]
    hf upload owner/name FOLDER

MODEL is the name of a shipped model or the path of one. Its template, encoder and pose file are copied where they lie
beside it, after each was opened with the model.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

from imhead import __version__
from imhead.checkpoint import Model, load_model
from imhead.encoding.encoder import encoder_path, load_encoder
from imhead.errors import InputError
from imhead.fitting.pose_file import pose_path, read_pose_template
from imhead.io.atomic import write_atomically
from imhead.io.hub import COMPANIONS, HUB_FORMAT, MANIFEST, WEIGHTS
from imhead.template.surface import load_template, template_path

ROOT = Path(__file__).resolve().parents[1]
TAGS = ("3d", "head", "face", "3dmm", "morphable-model", "signed-distance-field", "mesh", "safetensors")
_LFS = "*.safetensors filter=lfs diff=lfs merge=lfs -text\n"


def files_of(model: Model) -> dict[str, Path]:
    """Name in the repository → file, of the weights and of what lies beside them.

    Raises:
        InputError: the model was never on disk, or a file beside it belongs to another model.
    """
    if model.path is None:
        raise InputError(f"{model.name}: was never on disk; save it first")
    found = {WEIGHTS: model.path}
    readers = (
        (template_path(model.path), load_template),
        (encoder_path(model.path), load_encoder),
        (pose_path(model.path), read_pose_template),
    )
    for name, (path, read) in zip(COMPANIONS, readers):
        if path.is_file():
            read(path, model)
            found[name] = path
    return found


def manifest(model: Model, files: dict[str, Path]) -> str:
    """`imhead.json`: what the folder holds, with sizes and hashes."""
    entries = {}
    for name, path in files.items():
        data = path.read_bytes()
        entries[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    told = {"format": HUB_FORMAT, "name": model.name, "model_hash": model.hash, "imhead": __version__, "files": entries}
    return json.dumps(told, indent=2) + "\n"


def card(model: Model, repository: str, license_id: str, body: str) -> str:
    """The model card: a header that the hub reads, how to open the model, and what is known about it."""
    header = ["---", f"license: {license_id}", "library_name: imhead", "tags:", *(f"- {tag}" for tag in TAGS), "---"]
    use = [
        f"# {repository.split('/')[1]}",
        "",
        "An implicit 3D morphable model of the human head whose regions can be edited one by one.",
        "",
        "```python",
        "import imhead  # pip install 'imhead[hub]'",
        "",
        f'model = imhead.load("hf:{repository}")',
        'head = model.fit("my_scan.ply")',
        'head.along("nose", "wider").export("wider.glb")',
        "```",
        "",
        f"Weights `{model.hash}`. `{MANIFEST}` holds the SHA-256 of every file; imhead checks them.",
        "",
    ]
    return "\n".join([*header, "", *use, body.strip(), ""])


def described(model: Model) -> str:
    """What the model says about itself, one line for each entry of its card."""
    parameters = sum(value.numel() for value in model.net.parameters())
    lines = [f"- parameters: {parameters:,}"]
    lines += [f"- {key.replace('_', ' ')}: {json.dumps(value)[:400]}" for key, value in model.card.items()]
    return "\n".join(["## As it was trained", "", *lines])


def lay_out(source: str | Path, folder: Path, repository: str, license_id: str, body: str | None) -> dict[str, Path]:
    """Write the repository's folder; name → file of what was copied.

    Raises:
        InputError: no such model, a file of another model beside it, or a folder that cannot be written to.
    """
    if repository.count("/") != 1:
        raise InputError(f"{repository!r} is no repository; write owner/name")
    model = load_model(source)
    files = files_of(model)
    for name, path in files.items():
        write_atomically(folder / name, path.read_bytes())
    for name in ("LICENSE", "NOTICE"):
        write_atomically(folder / name, (ROOT / name).read_bytes())
    texts = {
        "README.md": card(model, repository, license_id, described(model) if body is None else body),
        ".gitattributes": _LFS,
        MANIFEST: manifest(model, files),
    }
    for name, text in texts.items():
        write_atomically(folder / name, text.encode())
    return files


def main() -> None:
    """Read the arguments, write the folder, say what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repository", required=True, help="owner/name")
    parser.add_argument("--card", type=Path, help="a page in Markdown; without it, what the model says about itself")
    parser.add_argument("--license", default="apache-2.0", help="an identifier that the hub knows")
    given = parser.parse_args()
    body = None if given.card is None else given.card.read_text(encoding="utf-8")
    files = lay_out(given.model, given.folder, given.repository, given.license, body)
    print(f"{len(files)} files of weights in {given.folder}; publish it: hf upload {given.repository} {given.folder}")


if __name__ == "__main__":
    main()
