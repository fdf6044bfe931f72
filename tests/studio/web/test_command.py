"""`imhead studio` on the command line."""

from __future__ import annotations

import pytest

from imhead.cli import studio as command
from imhead.errors import InputError


def test_without_websockets_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'imhead\[studio\]'"):
        command.studio()


def test_the_command_prints_an_address_with_a_key_and_ends_when_interrupted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("websockets")
    from imhead.studio.web.server import StudioServer

    def interrupted(_: StudioServer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(StudioServer, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        command.studio(port=0)
    printed = capsys.readouterr()
    assert "http://127.0.0.1:" in printed.err and "/?token=" in printed.err
    assert printed.out == ""
