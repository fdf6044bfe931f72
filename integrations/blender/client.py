# SPDX-License-Identifier: GPL-3.0-or-later
"""The verbs of `imhead serve`, over urllib. Nothing here needs Blender, and nothing here needs torch."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_FILE = "application/octet-stream"
MOST_BYTES = 200 << 20
"""Of an answer, and of a file: larger than any avatar."""
_POLL_S = 0.3
_LOOPBACK = ("127.0.0.1", "localhost")


class RefusedError(Exception):
    """What the server says is wrong, in one line; or that no server answers."""


class CancelledError(Exception):
    """The person ended it."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """The key goes nowhere else."""


@dataclass(frozen=True)
class Client:
    """A server on this computer, and the key to it.

    Raises:
        RefusedError: the address is that of another computer, or none.
    """

    address: str
    """As `imhead serve` prints it, such as http://127.0.0.1:8081."""
    key: str
    patience_s: float = 600.0

    def __post_init__(self) -> None:
        try:
            parts = urllib.parse.urlsplit(self.address)
            ours = parts.scheme == "http" and parts.hostname in _LOOPBACK and parts.port is not None
        except ValueError:
            ours = False
        if not ours or parts.path not in ("", "/"):
            raise RefusedError("the address is not that of a server on this computer; copy what imhead serve prints")
        if not self.key.isascii() or not self.key.isprintable() or not self.key:
            raise RefusedError("the key is missing or not one; copy what imhead serve prints")

    def about(self) -> dict[str, Any]:
        """Versions of the program and of its model."""
        return self._ask("GET", "/v1/about")

    def groups(self) -> dict[str, list[str]]:
        """Group → names of its regions."""
        return self._ask("GET", "/v1/regions")["groups"]

    def words(self) -> dict[str, list[str]]:
        """Group → the words that an edit by direction knows."""
        return self._ask("GET", "/v1/words")["words"]

    def fit(
        self, scan: bytes, settings: dict[str, Any], show: Callable[[str, float], None], stop: threading.Event
    ) -> dict[str, Any]:
        """Fit a scan and wait: `head`, its name, and `report`.

        Args:
            scan: a file.
            settings: `format`, `units` and the others that the server describes.
            show: is told what runs, and how much is done, 0 to 1.
            stop: set to cancel.

        Raises:
            RefusedError: the scan cannot be used, or the fit failed.
            CancelledError: `stop` was set.
        """
        texts = {name: v if isinstance(v, str) else json.dumps(v) for name, v in settings.items()}
        fit = self._ask("POST", f"/v1/fits?{urllib.parse.urlencode(texts)}", scan)["fit"]
        while True:
            state = self._ask("GET", f"/v1/fits/{fit}")
            if state["status"] == "done":
                return state
            if state["status"] == "cancelled":
                raise CancelledError
            if state["status"] in ("refused", "failed"):
                raise RefusedError(state["error"])
            show(state["stage"] or state["status"], state["part"])
            if stop.wait(_POLL_S):
                self._ask("DELETE", f"/v1/fits/{fit}")
                raise CancelledError

    def sample(self, seed: int) -> str:
        """Draw a head; its name."""
        return self._ask("POST", "/v1/sample", {"seed": seed})["head"]

    def edit(self, head: str, **settings: Any) -> str:
        """One edit; the name of the new head."""
        return self._ask("POST", f"/v1/heads/{head}/edit", settings)["head"]

    def avatar(self, head: str, **look: Any) -> bytes:
        """A GLB with skin, eyes, teeth, joints and the 52 shapes."""
        return self._ask("POST", f"/v1/heads/{head}/avatar", {"format": "glb"} | look)

    def head_file(self, head: str) -> bytes:
        """The file of a head."""
        return self._ask("GET", f"/v1/heads/{head}")

    def known(self, head: str, file: bytes) -> str:
        """A name of the head on the server, which may have been started again since: then its file is sent."""
        try:
            self.head_file(head)
            return head
        except RefusedError:
            return self._ask("POST", "/v1/heads", file)["head"]

    def _ask(self, method: str, path: str, body: bytes | dict[str, Any] | None = None) -> Any:
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        request = urllib.request.Request(self.address.rstrip("/") + path, data=data, method=method)
        request.add_header("Authorization", f"Bearer {self.key}")
        request.add_header("Content-Type", "application/json" if isinstance(body, dict) else _FILE)
        # a proxy of the system would not reach this computer
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
        try:
            with opener.open(request, timeout=self.patience_s) as response:
                content = response.read(MOST_BYTES + 1)
                kind = response.headers.get("Content-Type", "")
        except urllib.error.HTTPError as error:
            raise RefusedError(_said(error)) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise RefusedError(f"no imhead answers at {self.address} ({reason}); start it, then connect") from None
        if len(content) > MOST_BYTES:
            raise RefusedError("the answer is larger than any avatar; is this the address of imhead?")
        if kind == _FILE:
            return content
        try:
            return json.loads(content)
        except ValueError:
            raise RefusedError("the answer is not imhead's; check the address") from None


def _said(error: urllib.error.HTTPError) -> str:
    try:
        line = str(json.loads(error.read(1 << 16))["error"])
    except (ValueError, KeyError, TypeError, OSError):
        line = f"the server answers {error.code}; is this the address of imhead?"
    return "".join(c if c.isprintable() else " " for c in line)
