"""The demo's page starts and answers."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="gradio has an environment of its own: make test-web-demo")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
APP = Path(__file__).resolve().parents[2] / "demo" / "app.py"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page, started as a person starts it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = tmp_path_factory.mktemp("demo") / "told.txt"
    with told.open("w") as log:
        process = subprocess.Popen([sys.executable, str(APP), "--port", str(port)], stdout=log, stderr=log)
    try:
        for _ in range(600):
            assert process.poll() is None, told.read_text()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def test_the_page_answers_and_has_its_two_buttons(address: str) -> None:
    with urllib.request.urlopen(address, timeout=120) as answer:
        assert answer.status == 200 and b"imhead" in answer.read()
    with urllib.request.urlopen(f"{address}/config", timeout=120) as answer:
        config = json.load(answer)
    values = [part["props"].get("value") for part in config["components"]]
    assert all(value in values for value in ("Fit", "Change", "nose: wider"))
