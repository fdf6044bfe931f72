"""Measure the studio over WebSockets, without a browser: the latency of a slider, and the memory of ten tabs.

    python tools/studio.py drags
    python tools/studio.py tabs --commands 200

`drags`: the time from each of 200 slider events to the vertices received. `tabs`: ten tabs at once, N random commands
each; checks that no head of one tab appears in another, and compares the memory in use before and after. One tab does
the same beforehand and is closed, so that everything tabs share, such as networks and template, is in memory already.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import numpy as np
import viser
import zstandard
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

DRAGS = {"nose": 60, "mouth": 50, "eyes": 40, "jaw": 50}
TABS = 10
TIMEOUT_S = 540.0


class Tab:
    """A page of the studio without a browser: it records the widgets it receives, and can use them.

    Args:
        address: the address that the studio printed.
        name: the tab's name, 32 hex digits.
        page: name of this loading of the page, 32 hex digits; random by default.
    """

    def __init__(self, address: str, name: str, page: str = "") -> None:
        url = urlsplit(address)
        self.widgets: dict[str, dict[str, Any]] = {}
        self.messages: list[str] = []
        self.meshes = 0
        self.last_mesh = self.last_message = 0.0
        self._changed = threading.Condition()
        self._socket = connect(
            f"ws://{url.netloc}/?{url.query}&tab={name}.{page or secrets.token_hex(16)}",
            origin=Origin(f"http://{url.netloc}"),
            subprotocols=[Subprotocol(f"viser-v{viser.__version__}")],
            max_size=None,
            open_timeout=TIMEOUT_S,
            ping_timeout=None,
        )
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        self._send(
            "ViewerCameraMessage", wxyz=(1.0, 0.0, 0.0, 0.0), position=(0.0, 0.0, 8.0), fov=0.42, near=0.01, far=1000.0,
            image_height=720, image_width=700, look_at=(0.0, 0.0, 0.0), up_direction=(0.0, 1.0, 0.0),
        )  # fmt: skip

    def close(self) -> None:
        """Close the tab."""
        self._socket.close()
        self._thread.join(TIMEOUT_S)

    def wait_for(self, condition: Callable[[], bool], seconds: float = TIMEOUT_S) -> bool:
        """Wait until a condition holds; returns whether that was in time."""
        with self._changed:
            return self._changed.wait_for(condition, seconds)

    def quiet(self, seconds: float = 2.0) -> None:
        """Wait until no message has come for some seconds."""
        while (left := self.last_message + seconds - time.perf_counter()) > 0.0:
            time.sleep(left)

    def find(self, kind: str, text: str) -> str:
        """The widget of a kind whose label starts with a text, or whose options contain it."""
        for uuid, widget in self.widgets.items():
            props = widget["props"]
            if widget["type"] == kind and (
                str(props.get("label", "")).startswith(text) or text in props.get("options", ())
            ):
                return uuid
        raise LookupError(f"no {kind} {text!r}")

    def all(self, kind: str) -> list[str]:
        """Every visible and enabled widget of a kind."""
        return [
            uuid
            for uuid, widget in list(self.widgets.items())
            if widget["type"] == kind
            and widget["props"].get("visible", True)
            and not widget["props"].get("disabled", False)
        ]

    def set(self, uuid: str, value: object) -> None:
        """Set a widget's value, as a person would."""
        self.widgets[uuid]["value"] = value
        self._send("GuiUpdateMessage", uuid=uuid, updates={"value": value})

    def _send(self, kind: str, **fields: object) -> None:
        self._socket.send(msgspec.msgpack.encode({"type": kind, **fields}))

    def _listen(self) -> None:
        unpack = zstandard.ZstdDecompressor()
        try:
            for raw in self._socket:
                assert isinstance(raw, bytes)
                size, packed = int.from_bytes(raw[:8], "little"), int.from_bytes(raw[8:16], "little")
                batch = msgspec.msgpack.decode(unpack.decompress(raw[16 : 16 + packed], max_output_size=size))
                with self._changed:
                    self.last_message = time.perf_counter()
                    for message in batch["messages"]:
                        self._receive(message)
                    self._changed.notify_all()
        except ConnectionClosed:
            pass

    def _receive(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind.startswith("Gui") and "props" in message and "uuid" in message:
            self.widgets[message["uuid"]] = message
        elif kind == "GuiUpdateMessage" and message["uuid"] in self.widgets:
            widget = self.widgets[message["uuid"]]
            updates = dict(message["updates"])
            widget["value"] = updates.pop("value", widget.get("value"))
            widget["props"].update(updates)
        elif kind == "NotificationShowMessage":
            self.messages.append(str(message["props"]["body"]))
        elif message.get("name") == "/head" and "vertices" in (message.get("updates") or message.get("props") or {}):
            self.meshes += 1
            self.last_mesh = self.last_message


class RunningStudio:
    """`imhead studio` as a process of its own."""

    def __init__(self, *options: str) -> None:
        program = Path(sys.executable).with_name("imhead")
        self._process = subprocess.Popen(
            [str(program), "studio", "--port", "0", *options], stderr=subprocess.PIPE, text=True, env=os.environ.copy()
        )
        assert self._process.stderr is not None
        self.output: list[str] = []
        for line in self._process.stderr:
            self.output.append(line)
            if line.strip().startswith("http"):
                self.address = line.strip()
                break
        else:
            raise RuntimeError("".join(self.output))
        threading.Thread(target=self._listen, daemon=True).start()

    def megabytes(self) -> float:
        """Resident memory, MB."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE") / 1e6

    def rest(self, window_s: float = 4.0, busy_share: float = 0.02) -> None:
        """Wait until the process is idle: it works on after the last message of many tabs."""
        deadline = time.monotonic() + TIMEOUT_S
        spent = self._cpu_s()
        while time.monotonic() < deadline:
            time.sleep(window_s)
            before, spent = spent, self._cpu_s()
            if spent - before < busy_share * window_s:
                return
        raise RuntimeError(f"the studio was still busy after {TIMEOUT_S:g} s")

    def _cpu_s(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait(30.0)

    def _listen(self) -> None:
        assert self._process.stderr is not None
        self.output += list(self._process.stderr)


def open_tab(studio: RunningStudio, number: int) -> Tab:
    """Open a tab and wait until it shows a head."""
    tab = Tab(studio.address, f"{number:032x}")
    assert tab.wait_for(lambda: tab.meshes > 0), "no head was shown"
    tab.quiet()
    studio.rest()
    return tab


def drags(studio: RunningStudio) -> dict[str, Any]:
    """Latency of a slider: from its event to the vertices, over all drags."""
    tab = open_tab(studio, 1)
    seconds: list[float] = []
    for group, count in DRAGS.items():
        before = tab.last_message
        tab.set(tab.find("GuiButtonGroupMessage", group), group)
        assert tab.wait_for(lambda before=before: tab.last_message > before)  # type: ignore[misc]
        tab.quiet()
        slider = tab.find("GuiSliderMessage", "shape 1")
        for k in range(count):
            seen, start = tab.meshes, time.perf_counter()
            tab.set(slider, round(2.0 * float(np.sin(0.23 * (k + 1))), 2))
            assert tab.wait_for(lambda seen=seen: tab.meshes > seen)  # type: ignore[misc]
            seconds.append(tab.last_mesh - start)
            time.sleep(0.02)
        tab.quiet()
    tab.close()
    quantiles = np.quantile(seconds, [0.5, 0.95, 1.0]) * 1000.0
    return {"drags": len(seconds), **dict(zip(("median_ms", "p95_ms", "max_ms"), np.round(quantiles, 1).tolist()))}


def use_random_widgets(tab: Tab, seed: int, commands: int, pause_s: float = 0.01) -> int:
    """Use random widgets; returns how many random heads were requested."""
    rng = np.random.default_rng(seed)
    requested = 0
    for _ in range(commands):
        kind = rng.choice(["group", "slider", "button", "random"], p=[0.45, 0.4, 0.13, 0.02])
        if kind == "random":
            tab.set(tab.find("GuiButtonMessage", "new random head"), True)
            requested += 1
        else:
            name = {"group": "GuiButtonGroupMessage", "slider": "GuiSliderMessage", "button": "GuiButtonMessage"}[kind]
            uuid = str(rng.choice(tab.all(name)))
            props = tab.widgets[uuid]["props"]
            label = str(props.get("label", ""))
            if kind == "group":
                tab.set(uuid, str(rng.choice(props["options"])))
            elif kind == "slider":
                tab.set(uuid, round(float(rng.uniform(props["min"], props["max"])), 2))
            elif not label.startswith(("save", "new random", "play")):
                tab.set(uuid, True)
        time.sleep(pause_s)
    tab.quiet()
    return requested


def tabs(studio: RunningStudio, commands: int) -> dict[str, Any]:
    """Ten tabs at once: heads that leak between them, errors, and memory."""
    first = open_tab(studio, 0)
    use_random_widgets(first, TABS, commands)
    studio.rest()
    first.close()
    studio.rest()
    before = studio.megabytes()
    made = [Tab(studio.address, f"{k + 1:032x}") for k in range(TABS)]
    for tab in made:
        assert tab.wait_for(lambda tab=tab: tab.meshes > 0)  # type: ignore[misc]
    requested = [0] * TABS

    def run(k: int) -> None:
        requested[k] = use_random_widgets(made[k], k, commands)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(TABS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    studio.rest()
    during = studio.megabytes()
    names = [
        {str(name) for name in tab.widgets[tab.find("GuiDropdownMessage", "mean head")]["props"]["options"]}
        - {"mean head"}
        for tab in made
    ]
    shared = [sorted(a & b) for k, a in enumerate(names) for b in names[k + 1 :] if a & b]
    for tab in made:
        tab.close()
    studio.rest()
    return {
        "tabs": TABS,
        "commands": TABS * commands,
        "heads_in_two_tabs": shared,
        "heads_beyond_those_asked_for": [k for k in range(TABS) if len(names[k]) > requested[k]],
        "failures_told": [line for tab in made for line in tab.messages if line.startswith("Something went wrong")],
        "tracebacks": sum("Traceback" in line for line in studio.output),
        "megabytes": {"before": round(before, 1), "during": round(during, 1), "after": round(studio.megabytes(), 1)},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("drags", "tabs"))
    parser.add_argument("--commands", type=int, default=200, help="number of commands per tab")
    options = parser.parse_args()
    running = RunningStudio()
    try:
        print(json.dumps(drags(running) if options.what == "drags" else tabs(running, options.commands), indent=2))
    finally:
        running.stop()
