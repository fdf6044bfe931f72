"""Takes: read in a process of their own, kept with the session, refused in one sentence, and saved with an avatar."""

from __future__ import annotations

import io
import json
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES
from imhead.io.live_link import Take, take_bytes
from imhead.studio.session.reading import TAKE, refusal
from imhead.studio.session.tab_session import TabSession
from imhead.studio.session.takes import NamedTake, read_take_file, take_file


class Page:
    """A page that remembers takes, errors and files."""

    def __init__(self) -> None:
        self.takes: list[Any] = []
        self.errors: list[str] = []
        self.files: dict[str, bytes] = {}

    def show_take(self, take: Any) -> None:
        self.takes.append(take)

    def show_error(self, sentence: str, nearest: object) -> None:
        self.errors.append(sentence)

    def download(self, name: str, content: bytes) -> None:
        self.files[name] = content

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def until(what: Any, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


@pytest.fixture
def session(model: Model) -> Iterator[TabSession]:
    made = TabSession(model, threading.Lock())
    made.page = Page()  # type: ignore[assignment]
    yield made
    made.close()
    made.join()


def talking(frames: int = 30) -> Take:
    """A jaw that opens and shuts, with a gap after half of the frames."""
    seconds = np.arange(frames) / 30.0
    seconds[frames // 2 :] += 1.0
    weights = np.zeros((frames, 52))
    weights[:, ARKIT_NAMES.index("jawOpen")] = 0.5 - 0.5 * np.cos(seconds * 4.0)
    return Take(seconds, weights, np.zeros((frames, 9)))


@settings(max_examples=20, deadline=None)
@given(frames=st.integers(1, 40), warning=st.text(max_size=80), seed=st.integers(0, 99))
def test_a_take_reaches_another_process_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, frames: int, warning: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    take = Take(np.cumsum(rng.random(frames)), rng.random((frames, 52)), rng.normal(size=(frames, 9)))
    path = tmp_path_factory.mktemp("take") / "take"
    path.write_bytes(take_file(replace(take, warnings=(warning,))))
    read = read_take_file(path)
    for name in ("seconds", "weights", "angles"):
        np.testing.assert_array_equal(getattr(read, name), getattr(take, name))
    assert len(read.warnings) == 1 and "\n" not in read.warnings[0]


def test_a_take_keeps_its_time_and_is_there_again_after_a_reload(session: TabSession) -> None:
    page: Any = session.page
    take = talking()
    session.upload("my take.csv", take_bytes(take, 30.0))
    until(lambda: page.takes or page.errors)
    assert session.wait() and page.errors == []
    assert session.take is not None and session.take.name == "my take" and page.takes == [session.take]
    np.testing.assert_allclose(session.take.take.seconds, take.seconds, atol=1e-4)
    np.testing.assert_allclose(session.take.take.weights, take.weights, atol=1e-9)
    again = Page()
    session.detach()
    session.attach(lambda: again)  # type: ignore[arg-type,return-value]
    assert session.wait() and again.takes == [session.take]


BAD = {
    "people.csv": b"name,age\nAnna,31\n",
    "broken.json": b"{[",
    "faceless.json": json.dumps([{"score": 0.5}]).encode(),
}


@pytest.mark.parametrize("name", BAD)
def test_a_take_that_is_none_is_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(BAD[name])
    told = refusal("take", path, "")
    assert name in told and "\n" not in told and not path.with_name(TAKE).exists()


def test_a_refused_take_leaves_the_last_one(session: TabSession) -> None:
    page: Any = session.page
    session.take = NamedTake("last", talking())
    session.upload("people.csv", BAD["people.csv"])
    until(lambda: page.errors)
    assert page.errors[0].startswith("people.csv: its first line names no ARKit weight")
    assert session.take.name == "last" and page.takes == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_avatar_and_its_preview_play_the_take(shipped: Model) -> None:
    session, page = TabSession(shipped, threading.Lock()), Page()
    session.attach(lambda: page)  # type: ignore[arg-type,return-value]
    session.upload("talk.csv", take_bytes(talking(16), 30.0))
    until(lambda: page.takes or page.errors)
    assert page.errors == []
    for kind in ("avatar", "preview"):
        session.export(kind, take=True)
        until(lambda kind=kind: any(kind in name for name in page.files) or page.errors, 600.0)  # type: ignore[misc]
    session.export("avatar")
    glb = page.files["mean_head_avatar.glb"]
    (length,) = struct.unpack_from("<I", glb, 12)
    assert [clip["name"] for clip in json.loads(glb[20 : 20 + length])["animations"]] == ["take"]
    picture = Image.open(io.BytesIO(page.files["mean_head_preview.webp"]))
    assert picture.format == "WEBP" and picture.n_frames == round(12.5 * (15 / 30.0 + 1.0))  # type: ignore[attr-defined]
    first = np.asarray(picture.convert("RGB"), dtype=float)
    picture.seek(9)
    assert np.abs(np.asarray(picture.convert("RGB"), dtype=float) - first).max() > 50.0, "the jaw opens"
    session.close()
    session.join()
