"""Files from a browser: whatever they hold, the studio lives, says a sentence, and keeps nothing."""

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
    """What another process leaves in the machine's folder is not this test's."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def ball() -> bytes:
    made: bytes = trimesh.creation.icosphere(3, radius=90.0).export(file_type="ply")
    return made


def take_in(name: str, content: bytes, model: Model) -> uploads.Kind:
    with uploads.stored(name, content) as path:
        return uploads.vet(path, uploads.plain_name(name), model)


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
        take_in(name, HOSTILE[name], shipped)
    text = str(caught.value)
    assert text.startswith(name) and "\n" not in text and len(text) < 400
    assert "imhead-upload" not in text, "where it was stored is nobody's business"
    assert left_behind() == before


def test_a_scan_arrives_as_it_was_sent(shipped: Model) -> None:
    with uploads.stored("my scan.ply", ball()) as path:
        assert uploads.vet(path, "my scan.ply", shipped) == "scan"
        scan = uploads.vetted_scan(path, "my scan.ply")
    assert scan.name == "my scan"
    assert len(scan.points) == 642 and scan.faces is not None and len(scan.faces) == 1280
    assert np.linalg.norm(scan.points, axis=1).max() == pytest.approx(90.0, abs=1e-3)
    assert not path.exists()


def test_a_path_in_the_name_leads_nowhere(shipped: Model, tmp_path: Path) -> None:
    name = f"../../..{tmp_path}/../evil\n.ply"
    with uploads.stored(name, ball()) as path:
        assert path.name == "upload.ply"
        assert path.parent.parent == Path(tempfile.gettempdir())
    assert uploads.plain_name(name) == "evil.ply"
    assert uploads.plain_name("C:\\faces\\me.stl") == "me.stl"
    assert uploads.plain_name("..") == ".."
    with pytest.raises(InputError), uploads.stored("..", b""):
        pass


def test_a_file_of_another_kind_is_not_even_stored() -> None:
    before = left_behind()
    with pytest.raises(InputError, match="is not taken"), uploads.stored("run.py", b"print()"):
        raise AssertionError("it was taken")
    assert left_behind() == before


def test_a_file_over_the_limit_is_refused() -> None:
    with pytest.raises(InputError, match="at most 100 MB"), uploads.stored("big.ply", bytes((100 << 20) + 1)):
        raise AssertionError("it was taken")


def test_a_project_and_its_kind_are_told_apart_from_a_scan(shipped: Model) -> None:
    assert take_in("mine.imhead", project_bytes(Studio(shipped)), shipped) == "project"


def test_a_file_that_takes_too_long_is_given_up(shipped: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_MAX_SECONDS", 0.01)
    with pytest.raises(InputError, match="takes longer"):
        take_in("slow.ply", ball(), shipped)
