"""Models of the hub: fetched once, checked each time, and a clear word where they cannot be had."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tools.publish import lay_out

import imhead
from imhead.checkpoint import Model, save_model
from imhead.errors import InputError

pytest.importorskip("huggingface_hub")
from huggingface_hub import ModelCard, constants

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """A server that answers as the hub does when a file is asked for, for one repository."""

    folder: Path
    asked: list[str] = field(default_factory=list)
    """Method and file of every request."""


class Answer(BaseHTTPRequestHandler):
    """HEAD and GET of /owner/name/resolve/REVISION/FILE."""

    def __init__(self, hub: Hub, *rest: object) -> None:
        self.hub = hub
        super().__init__(*rest)  # type: ignore[arg-type]

    def log_message(self, *told: object) -> None:
        """Nothing on the screen."""

    def _refuse(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _answer(self, with_body: bool) -> None:
        _, owner, name, *rest = self.path.split("/")
        if (owner, name) != ("clinic", "heads"):
            return self._refuse("RepoNotFound")
        if rest[1] not in ("main", "v1", COMMIT):
            return self._refuse("RevisionNotFound")
        path = self.hub.folder / rest[2]
        self.hub.asked.append(f"{self.command} {rest[2]}")
        if not path.is_file():
            return self._refuse("EntryNotFound")
        data = path.read_bytes()
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if with_body:
            self.wfile.write(data)

    def do_HEAD(self) -> None:
        self._answer(False)

    def do_GET(self) -> None:
        self._answer(True)


@pytest.fixture
def published(model: Model, tmp_path: Path) -> Path:
    """The folder of a small model's repository, as tools/publish.py lays it out."""
    save_model(model.net, tmp_path / "small.safetensors", "small", {"seed": 0, "limits": "random weights"})
    lay_out(tmp_path / "small.safetensors", tmp_path / "repository", "clinic/heads", "apache-2.0", None)
    return tmp_path / "repository"


def point_at(monkeypatch: pytest.MonkeyPatch, address: str, cache: Path) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)


@pytest.fixture
def hub(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    served = Hub(published)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Answer, served))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    point_at(monkeypatch, f"http://127.0.0.1:{server.server_port}", tmp_path / "cache")
    yield served
    server.shutdown()
    server.server_close()


def refused(address: str) -> str:
    with pytest.raises(InputError) as told:
        imhead.load(address, device="cpu")
    return str(told.value)


def change_manifest(hub: Hub, change: Callable[[dict[str, object]], object]) -> None:
    path = hub.folder / "imhead.json"
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))


def test_a_model_that_was_published_is_loaded_by_its_address(hub: Hub, model: Model) -> None:
    for address in ("hf:clinic/heads", "hf:clinic/heads@v1", f"hf:clinic/heads@{COMMIT}"):
        assert imhead.load(address, device="cpu").model.hash == model.hash


def test_a_commit_is_fetched_once_and_then_the_hub_is_not_asked(hub: Hub) -> None:
    imhead.load(f"hf:clinic/heads@{COMMIT}", device="cpu")
    assert "GET model.safetensors" in hub.asked
    hub.asked.clear()
    imhead.load(f"hf:clinic/heads@{COMMIT}", device="cpu")
    assert not hub.asked


def test_without_a_connection_the_copy_in_the_cache_is_used(
    hub: Hub, tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    imhead.load("hf:clinic/heads", device="cpu")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert imhead.load("hf:clinic/heads", device="cpu").model.hash == model.hash
    assert not hub.asked.clear() and not hub.asked


def test_without_a_connection_and_a_copy_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_at(monkeypatch, "http://127.0.0.1:9", tmp_path / "cache")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    told = refused("hf:clinic/heads")
    assert "cannot be reached" in told and "connect once" in told


def test_weights_that_are_not_those_of_the_manifest_are_refused(hub: Hub) -> None:
    weights = hub.folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    assert "is not the file that imhead.json names" in refused("hf:clinic/heads")


def test_a_file_that_changes_in_the_cache_is_refused(hub: Hub, tmp_path: Path) -> None:
    imhead.load("hf:clinic/heads", device="cpu")
    (blob,) = (path.resolve() for path in (tmp_path / "cache").rglob("snapshots/*/model.safetensors"))
    blob.write_bytes(blob.read_bytes()[:-1] + b"\x7f")
    assert "remove" in refused("hf:clinic/heads")


def test_nothing_but_safetensors_of_known_names_is_fetched(hub: Hub) -> None:
    (hub.folder / "model.pkl").write_bytes(b"\x80\x04.")
    change_manifest(hub, lambda told: told["files"].update({"model.pkl": {"bytes": 3, "sha256": "0" * 64}}))  # type: ignore[attr-defined]
    imhead.load("hf:clinic/heads", device="cpu")
    assert {line.split()[1] for line in hub.asked} == {"imhead.json", "model.safetensors"}


def test_a_file_too_large_for_a_model_is_not_fetched(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imhead.io.hub._MAX_FILE", 1000)
    assert "is larger than" in refused("hf:clinic/heads")
    assert "GET model.safetensors" not in hub.asked


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("hf:clinic", "write hf:owner/name"),
        ("hf:clinic/heads@../../x", "write hf:owner/name"),
        ("hf:clinic/heads/more", "write hf:owner/name"),
        ("hf:clinic/other", "no such repository"),
        ("hf:clinic/heads@v9", "has no revision 'v9'"),
    ],
)
def test_an_address_that_leads_nowhere_is_refused_with_a_remedy(hub: Hub, address: str, words: str) -> None:
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    assert words in refused(address)


def test_without_the_extra_its_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "pip install 'imhead[hub]'" in refused("hf:clinic/heads")


def test_a_repository_without_a_manifest_is_no_model(hub: Hub) -> None:
    (hub.folder / "imhead.json").unlink()
    assert "is no model of imhead's" in refused("hf:clinic/heads")


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "imhead-hub-1", "files": {}}', "[" * 10_000, '{"format": 2}'])
def test_a_damaged_manifest_is_refused_in_one_line(hub: Hub, text: str) -> None:
    (hub.folder / "imhead.json").write_text(text)
    assert "imhead.json cannot be used" in refused("hf:clinic/heads")


def test_the_card_has_the_header_that_the_hub_reads(published: Path) -> None:
    told = ModelCard.load(published / "README.md")
    assert told.data.license == "apache-2.0" and told.data.library_name == "imhead"
    assert 'imhead.load("hf:clinic/heads")' in told.text and "random weights" in told.text
    assert {"LICENSE", "NOTICE", ".gitattributes"} <= {path.name for path in published.iterdir()}


@pytest.mark.slow
def test_what_lies_beside_the_weights_goes_along_if_it_is_theirs(tmp_path: Path, hub: Hub) -> None:
    lay_out("default", hub.folder, "clinic/heads", "apache-2.0", None)
    shipped = imhead.load(device="cpu")
    fetched = imhead.load("hf:clinic/heads", device="cpu")
    assert fetched.model.hash == shipped.model.hash and fetched.has_template
    assert sum(line.startswith("GET") for line in hub.asked) == 5  # manifest, weights, template, encoder, pose


def test_a_template_of_another_model_is_not_published(
    published: Path, tmp_path: Path, random_model: Callable[..., Model]
) -> None:
    other = random_model(seed=1)
    save_model(other.net, tmp_path / "other.safetensors", "other", {})
    shipped = imhead.load(device="cpu").model.path
    assert shipped is not None
    beside = shipped.with_suffix(".template.safetensors")
    (tmp_path / "other.template.safetensors").write_bytes(beside.read_bytes())
    with pytest.raises(InputError, match="is the template"):
        lay_out(tmp_path / "other.safetensors", tmp_path / "folder", "clinic/heads", "apache-2.0", None)
