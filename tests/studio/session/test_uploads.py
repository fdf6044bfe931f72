"""Uploads: whatever a file holds, the studio goes on, shows one message, and keeps nothing."""

from __future__ import annotations

import io
import struct
import subprocess
import tempfile
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from imhead import checkpoint
from imhead.checkpoint import Model, load_model, save_head
from imhead.errors import InputError
from imhead.studio.session import child, uploads
from imhead.studio.session.tab_session import TabSession
from imhead.studio.state import project
from imhead.studio.state.commands.library import AddHead, RandomHead
from imhead.studio.state.project import project_bytes
from imhead.studio.state.studio import Studio


@pytest.fixture(scope="module")
def shipped() -> Model:
    return load_model()


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the test apart from what other processes leave in the machine's temporary folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def ball() -> bytes:
    made: bytes = trimesh.creation.icosphere(3, radius=90.0).export(file_type="ply")
    return made


def read(name: str, content: bytes, model: Model) -> uploads.Kind:
    with uploads.stored(name, content) as path:
        return uploads.Reader().vet(path, uploads.display_name(name), model)


def left_behind() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob("imhead-upload-*"))


def zip_bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("scene.gltf", bytes(50 << 20))
    return buffer.getvalue()


HOSTILE = {
    "two_gigabytes.ply": b"ply\nformat binary_little_endian 1.0\nelement vertex 170000000\nproperty float x\n"
    b"property float y\nproperty float z\nend_header\n" + bytes(1000),
    "bomb.glb": zip_bomb(),
    "long.glb": struct.pack("<4sII", b"glTF", 2, 1 << 31) + struct.pack("<I4s", 1 << 31, b"JSON") + b"{}",
    "nan.obj": b"".join(b"v nan %d 0\n" % k for k in range(300)) + b"f 1 2 3\n",
    "deep.glb": struct.pack("<4sII", b"glTF", 2, 200020) + struct.pack("<I4s", 200000, b"JSON") + b"[" * 200000,
    "empty.stl": b"",
    "pickle.safetensors": b"\x80\x04\x95" + bytes(100),
    "not.imhead": b"PK\x03\x04" + bytes(100),
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_hostile_upload_is_refused_with_one_sentence(shipped: Model, name: str) -> None:
    before = left_behind()
    with pytest.raises(InputError) as caught:
        read(name, HOSTILE[name], shipped)
    text = str(caught.value)
    assert text.startswith(name) and "\n" not in text and len(text) < 400
    assert "imhead-upload" not in text, "the message does not say where the file was stored"
    assert left_behind() == before


def test_a_scan_arrives_as_it_was_sent(shipped: Model) -> None:
    with uploads.stored("my scan.ply", ball()) as path:
        assert uploads.Reader().vet(path, "my scan.ply", shipped) == "scan"
        scan = uploads.vetted_scan(path, "my scan.ply")
    assert scan.name == "my scan"
    assert len(scan.points) == 642 and scan.faces is not None and len(scan.faces) == 1280
    assert np.linalg.norm(scan.points, axis=1).max() == pytest.approx(90.0, abs=1e-3)
    assert not path.exists()


def test_a_path_in_the_name_is_ignored(shipped: Model, tmp_path: Path) -> None:
    name = f"../../..{tmp_path}/../evil\n.ply"
    with uploads.stored(name, ball()) as path:
        assert path.name == "upload.ply"
        assert path.parent.parent == Path(tempfile.gettempdir())
    assert uploads.display_name(name) == "evil.ply"
    assert uploads.display_name("C:\\faces\\me.stl") == "me.stl"
    assert uploads.display_name("..") == ".."
    with pytest.raises(InputError), uploads.stored("..", b""):
        pass


def test_a_file_of_another_kind_is_not_stored() -> None:
    before = left_behind()
    with pytest.raises(InputError, match="cannot be opened"), uploads.stored("run.py", b"print()"):
        raise AssertionError("it was accepted")
    assert left_behind() == before


def test_a_file_over_the_limit_is_refused() -> None:
    with pytest.raises(InputError, match="at most 100 MB"), uploads.stored("big.ply", bytes((100 << 20) + 1)):
        raise AssertionError("it was accepted")


def test_a_project_is_recognized(shipped: Model) -> None:
    assert read("mine.imhead", project_bytes(Studio(shipped)), shipped) == "project"


def test_a_project_and_a_head_are_opened_in_the_reading_process_only(
    shipped: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_head(replace(shipped.neutral(), provenance=("mine",)), tmp_path / "head.safetensors")
    studio = Studio(shipped)
    studio.do(RandomHead(4))
    opened: list[str] = []
    original = checkpoint.read_tensors

    def recorded(path: Path, *args: Any) -> Any:
        opened.append(path.name)
        return original(path, *args)

    for module in (checkpoint, project):
        monkeypatch.setattr(module, "read_tensors", recorded)
    reader = uploads.Reader()
    with uploads.stored("head.safetensors", (tmp_path / "head.safetensors").read_bytes()) as path:
        assert reader.vet(path, "head.safetensors", shipped) == "head"
        assert uploads.vetted_head(path, shipped).provenance == ("mine",)
    with uploads.stored("mine.imhead", project_bytes(studio)) as path:
        assert reader.vet(path, "mine.imhead", shipped) == "project"
        assert project_bytes(uploads.vetted_project(path, shipped)) == project_bytes(studio)
    assert opened == ["vetted.safetensors", "vetted.imhead"], "what the reading process wrote, not what was uploaded"


def test_a_project_that_unfolds_to_more_than_fits_is_refused(
    shipped: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = Studio(shipped)
    studio.do(RandomHead(4))
    path = tmp_path / "mine.imhead"
    path.write_bytes(project_bytes(studio))
    assert len(project.open_project(path, shipped).history.steps) == 2
    monkeypatch.setattr(project, "_MOST_LINES", 0)
    with pytest.raises(InputError, match=r"^mine\.imhead: the project has more steps than can be opened"):
        project.open_project(path, shipped)


def test_a_project_keeps_whether_a_heads_scale_was_assumed(shipped: Model, tmp_path: Path) -> None:
    studio = Studio(shipped)
    studio.do(AddHead("measured", shipped.neutral()))
    studio.do(AddHead("assumed", replace(shipped.neutral(), scale_assumed=True)))
    path = tmp_path / "mine.imhead"
    path.write_bytes(project_bytes(studio))
    heads = {named.name: named.codes for named in project.open_project(path, shipped).document.heads}
    assert heads["assumed"].scale_assumed and not heads["measured"].scale_assumed


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Every reading process that is started."""
    started: list[subprocess.Popen[bytes]] = []
    original = subprocess.Popen

    def start(*args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:
        started.append(original(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(child.subprocess, "Popen", start)
    return started


def test_a_reading_process_ends_with_its_tab(shipped: Model, processes: list[subprocess.Popen[bytes]]) -> None:
    session = TabSession(shipped, threading.Lock())
    before = left_behind()
    session.upload("face.ply", ball())
    deadline = time.monotonic() + 60.0
    while not processes and time.monotonic() < deadline:
        time.sleep(0.01)
    assert processes[0].poll() is None
    session.close()
    processes[0].wait(10.0)
    while left_behind() != before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert left_behind() == before
    session.upload("again.ply", ball())
    session.join()
    time.sleep(0.2)
    assert len(processes) == 1, "a closed tab starts no other"


def test_a_page_that_returns_is_told_that_its_upload_was_not_read(
    shipped: Model, processes: list[subprocess.Popen[bytes]]
) -> None:
    session, told = TabSession(shipped, threading.Lock()), threading.Event()
    errors: list[str] = []

    class Page:
        def show_error(self, sentence: str, nearest: object) -> None:
            errors.append(sentence)
            told.set()

        def __getattr__(self, name: str) -> Any:
            return lambda *_: None

    session.upload("face.ply", ball())
    deadline = time.monotonic() + 60.0
    while not processes and time.monotonic() < deadline:
        time.sleep(0.01)
    session.detach()
    processes[0].wait(10.0)
    while session._missed is None and time.monotonic() < deadline:
        time.sleep(0.01)
    session.attach(Page)  # type: ignore[arg-type]
    assert told.wait(60.0)
    assert errors == ["face.ply: was not read to the end, because its page was closed; open it again"]
    session.close()
    session.join()


def test_a_file_that_takes_too_long_to_read_is_refused(shipped: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_MAX_SECONDS", 0.01)
    with pytest.raises(InputError, match="takes longer"):
        read("slow.ply", ball(), shipped)
