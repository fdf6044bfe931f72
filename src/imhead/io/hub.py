"""Models of the Hugging Face hub: `hf:owner/name@revision` → files in its cache, checked before they are used.

A repository holds `imhead.json` beside its weights (tools/publish.py lays it out): the names, sizes and SHA-256 of the
files. Nothing that it does not name is fetched, and of what it names only safetensors.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from imhead.errors import InputError, one_line

HUB_PREFIX = "hf:"
"""Begins the address of a model on the hub."""
HUB_FORMAT = "imhead-hub-1"
MANIFEST = "imhead.json"
WEIGHTS = "model.safetensors"
COMPANIONS = ("model.template.safetensors", "model.encoder.safetensors", "model.pose.safetensors")
"""Files that may lie beside the weights: template surface, encoder, template of the search for the pose."""
_ADDRESS = re.compile(r"hf:(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+(?:/[\w.-]+)*))?", re.ASCII)
_MAX_MANIFEST = 64 << 10
_MAX_FILE = 256 << 20
_DIGEST = re.compile(r"[0-9a-f]{64}")


def hub_model(address: str) -> Path:
    """Path of a model's weights in the cache, its companions beside it; fetched where they are not there yet.

    Args:
        address: `hf:owner/name`, or `hf:owner/name@revision` with a branch, a tag or a commit. A commit always names
            the same bytes, and once it is in the cache the hub is not asked again.

    Raises:
        InputError: no such address, repository or revision; the hub cannot be reached and the cache has no copy; a file
            that is not what `imhead.json` says; or the extra imhead[hub] is not installed.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or ".." in address:
        raise InputError(f"{address}: is no address of a model; write hf:owner/name or hf:owner/name@revision")
    repository, revision = found["repository"], found["revision"] or "main"
    manifest = _fetched(address, repository, revision, MANIFEST, _MAX_MANIFEST)
    files = _listed(address, manifest)
    commit = manifest.parent.name  # the files of one commit belong together, whatever the branch does meanwhile
    paths = {}
    for name, (size, digest) in files.items():
        paths[name] = _fetched(address, repository, commit, name, _MAX_FILE)
        if paths[name].stat().st_size != size or _sha256(paths[name]) != digest:
            raise InputError(
                f"{address}: {name} is not the file that {MANIFEST} names; remove {paths[name]} and load it again"
            )
    return paths[WEIGHTS]


def _listed(address: str, manifest: Path) -> dict[str, tuple[int, str]]:
    """File → size and SHA-256, the weights first."""
    try:
        told: Any = json.loads(manifest.read_bytes())
        if told["format"] != HUB_FORMAT:
            raise ValueError(f"format {told['format']!r}, not {HUB_FORMAT!r}")
        files = {name: told["files"][name] for name in (WEIGHTS, *COMPANIONS) if name in told["files"]}
        listed = {name: (int(entry["bytes"]), str(entry["sha256"])) for name, entry in files.items()}
        if WEIGHTS not in listed or not all(_DIGEST.fullmatch(digest) for _, digest in listed.values()):
            raise ValueError("weights or hashes are missing")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{address}: its {MANIFEST} cannot be used ({one_line(error)}); ask its owner to publish it again"
        ) from error
    return listed


def _fetched(address: str, repository: str, revision: str, name: str, limit: int) -> Path:
    """A file of a repository, from the cache where it is there or the hub cannot be reached."""
    try:
        from huggingface_hub import constants, hf_hub_download
        from huggingface_hub import errors as hub
    except ImportError as error:
        raise InputError(f"{address}: a model of the hub needs pip install 'imhead[hub]'") from error
    try:
        told = hf_hub_download(repository, name, revision=revision, dry_run=True)
        if told.file_size is None or told.file_size > limit:
            raise InputError(f"{address}: {name} is larger than {limit >> 10} KiB, so no file of imhead's")
        return Path(hf_hub_download(repository, name, revision=revision))
    except InputError:
        raise
    except hub.RevisionNotFoundError as error:
        raise InputError(f"{address}: has no revision {revision!r}; look for one on its page") from error
    except hub.RepositoryNotFoundError as error:
        raise InputError(
            f"{address}: no such repository, or not for everyone; check its name, or log in with: hf auth login"
        ) from error
    except hub.LocalEntryNotFoundError as error:
        raise InputError(
            f"{address}: the hub cannot be reached, and {name} is not in its cache ({constants.HF_HUB_CACHE}); "
            "connect once, or give the path of a .safetensors file"
        ) from error
    except hub.EntryNotFoundError as error:
        raise InputError(f"{address}: has no {name}, so it is no model of imhead's; check the address") from error
    except Exception as error:  # the libraries below raise what they like for a proxy, a certificate, a full disk
        raise InputError(f"{address}: {name} cannot be fetched ({one_line(error, 200)}); try again") from error


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
