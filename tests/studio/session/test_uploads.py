"""Uploads: whatever a file holds, the studio goes on, shows one message, and keeps nothing."""

from __future__ import annotations

import io
import struct
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import trimesh

from imhead.checkpoint import Model, load_model
from imhead.errors import InputError
from imhead.studio.session import uploads
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
        return uploads.vet(path, uploads.display_name(name), model)


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
        assert uploads.vet(path, "my scan.ply", shipped) == "scan"
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


def test_a_file_that_takes_too_long_to_read_is_refused(shipped: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_MAX_SECONDS", 0.01)
    with pytest.raises(InputError, match="takes longer"):
        read("slow.ply", ball(), shipped)
