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

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin

from imhead.regions import groups
from imhead.studio.web.wire import unpacked

DRAGS = {"nose": 60, "mouth": 50, "eyes": 40, "jaw": 50}
TABS = 10
TIMEOUT_S = 540.0


class Tab:
    """A page of the studio without a browser: it records what it receives, and says what a person would.

    Args:
        address: the address that the studio printed.
        name: the tab's name, 32 hex digits.
        page: name of this loading of the page, 32 hex digits; random by default.
    """

    def __init__(self, address: str, name: str, page: str = "") -> None:
        url = urlsplit(address)
        self.state: dict[str, Any] = {}
        self.jobs: list[dict[str, Any]] = []
        self.messages: list[str] = []
        self.errors: list[dict[str, Any]] = []
        self.received: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        self.meshes = 0
        self.last_mesh = self.last_message = 0.0
        self._changed = threading.Condition()
        self._socket = connect(
            f"ws://{url.netloc}/?{url.query}&tab={name}.{page or secrets.token_hex(16)}",
            origin=Origin(f"http://{url.netloc}"),
            max_size=None,
            open_timeout=TIMEOUT_S,
            ping_timeout=None,
        )
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

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

    def say(self, do: str, **fields: object) -> None:
        """Send what the page sends when a person does something."""
        self._socket.send(json.dumps({"do": do, **fields}))

    def send(self, raw: str | bytes) -> None:
        """Send anything."""
        self._socket.send(raw)

    def head(self) -> str:
        """Name of the shown head."""
        return str(self.state["heads"][self.state["active"]]["name"])

    def slide(self, row: int, value: float) -> None:
        """Move one of the sliders that are shown."""
        slider = self.state["sliders"][row]
        self.say(slider["kind"], key=slider["key"], value=value)

    def _listen(self) -> None:
        try:
            for raw in self._socket:
                message, arrays = unpacked(raw) if isinstance(raw, bytes) else (json.loads(raw), {})
                with self._changed:
                    self.last_message = time.perf_counter()
                    self._receive(message, arrays)
                    self._changed.notify_all()
        except ConnectionClosed:
            pass

    def _receive(self, message: dict[str, Any], arrays: dict[str, Any]) -> None:
        kind = message["kind"]
        self.received[kind] = message, arrays
        if kind == "state":
            self.state = message
        elif kind == "jobs":
            self.jobs = message["jobs"]
        elif kind in ("error", "full"):
            self.errors.append(message)
            self.messages.append(str(message.get("text", "full")))
        elif kind in ("moving", "still"):
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
        spent = self.cpu_s()
        while time.monotonic() < deadline:
            time.sleep(window_s)
            before, spent = spent, self.cpu_s()
            if spent - before < busy_share * window_s:
                return
        raise RuntimeError(f"the studio was still busy after {TIMEOUT_S:g} s")

    def cpu_s(self) -> float:
        """Processor time so far, s."""
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
    """Latency of a slider, from its event to the vertices, over all drags; the server's work on one drag of each group,
    exact surfaces included; and how many processes wanted the machine at the end."""
    tab = open_tab(studio, 1)
    seconds: list[float] = []
    work: dict[str, float] = {}
    for group, count in DRAGS.items():
        tab.say("select", names=[group])
        members = list(groups()[group])
        assert tab.wait_for(lambda members=members: tab.state["selection"] == members)  # type: ignore[misc]
        tab.quiet()
        row = next(k for k, slider in enumerate(tab.state["sliders"]) if slider["kind"] == "shape")
        spent = studio.cpu_s()
        for k in range(count):
            seen, start = tab.meshes, time.perf_counter()
            tab.slide(row, round(2.0 * float(np.sin(0.23 * (k + 1))), 2))
            assert tab.wait_for(lambda seen=seen: tab.meshes > seen)  # type: ignore[misc]
            seconds.append(tab.last_mesh - start)
            time.sleep(0.02)
        work[group] = round(1000.0 * (studio.cpu_s() - spent) / count, 1)
        tab.quiet()
    tab.close()
    quantiles = np.quantile(seconds, [0.5, 0.95, 1.0]) * 1000.0
    latency = dict(zip(("median_ms", "p95_ms", "max_ms"), np.round(quantiles, 1).tolist()))
    return {"drags": len(seconds), **latency, "cpu_ms": work, "load": round(os.getloadavg()[0], 1)}


def do_random_things(tab: Tab, seed: int, commands: int, pause_s: float = 0.01) -> int:
    """Do random things; returns how many random heads were asked for."""
    rng = np.random.default_rng(seed)
    asked = 0
    names = [name for name in groups() if not name.startswith(("left", "right"))]
    plain = ("undo", "redo", "reset", "sample", "release", "unlock all")
    for _ in range(commands):
        kind = rng.choice(["select", "slider", "plain", "express", "random"], p=[0.4, 0.35, 0.15, 0.08, 0.02])
        if kind == "random":
            tab.say("random")
            asked += 1
        elif kind == "select":
            tab.say("select", names=[str(rng.choice(names))], add=bool(rng.random() < 0.2))
        elif kind == "slider" and tab.state.get("sliders"):
            tab.slide(int(rng.integers(len(tab.state["sliders"]))), round(float(rng.uniform(-3.0, 3.0)), 2))
        elif kind == "express":
            tab.say("express", weights=[["jawOpen", round(float(rng.random()), 2)]])
        else:
            tab.say(str(rng.choice(plain)))
        time.sleep(pause_s)
    tab.quiet()
    return asked


def tabs(studio: RunningStudio, commands: int) -> dict[str, Any]:
    """Ten tabs at once: heads that leak between them, errors, and memory."""
    first = open_tab(studio, 0)
    do_random_things(first, TABS, commands)
    studio.rest()
    first.close()
    studio.rest()
    before = studio.megabytes()
    made = [Tab(studio.address, f"{k + 1:032x}") for k in range(TABS)]
    for tab in made:
        assert tab.wait_for(lambda tab=tab: tab.meshes > 0)  # type: ignore[misc]
    requested = [0] * TABS

    def run(k: int) -> None:
        requested[k] = do_random_things(made[k], k, commands)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(TABS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    studio.rest()
    during = studio.megabytes()
    names = [{head["name"] for head in tab.state["heads"]} - {"mean head"} for tab in made]
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
