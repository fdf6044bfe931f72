"""Several pages at once over real WebSockets: each has its own heads, and none can harm another."""

from __future__ import annotations

import gc
import importlib.util
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("websockets")
from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.regions import groups
from imhead.studio.state.commands.library import RandomHead
from imhead.studio.state.studio import Studio
from imhead.studio.web.server import StudioConfig, StudioServer, start

CLIENT_TOOL = Path(__file__).resolve().parents[3] / "tools" / "studio.py"


def _clients() -> Any:
    spec = importlib.util.spec_from_file_location("studio_clients", CLIENT_TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CLIENTS = _clients()
Open = Callable[[int], Any]


@pytest.fixture(scope="module")
def server(model: Model) -> Iterator[StudioServer]:
    made = start(model, StudioConfig(port=0))
    yield made
    made.stop()


@pytest.fixture
def open_tab(server: StudioServer) -> Iterator[Open]:
    opened: list[Any] = []

    def make(number: int) -> Any:
        tab = CLIENTS.Tab(server.address, f"{number:032x}")
        opened.append(tab)
        assert tab.wait_for(lambda: tab.meshes > 0)
        assert session(server, number).wait()
        tab.quiet(0.3)
        return tab

    yield make
    for tab in opened:
        tab.close()


def session(server: StudioServer, number: int) -> Any:
    return server.sessions()[f"{number:032x}"]


def test_a_click_on_a_group_and_a_drag_of_a_slider_change_the_head(server: StudioServer, open_tab: Open) -> None:
    tab = open_tab(1)
    mine = session(server, 1)
    tab.say("select", names=["nose"])
    assert tab.wait_for(lambda: bool(tab.state["sliders"]))
    assert mine.studio.settings.selection == groups()["nose"] and tab.state["title"] == "nose"
    seen = tab.meshes
    row = next(k for k, slider in enumerate(tab.state["sliders"]) if slider["kind"] == "shape")
    tab.slide(row, 1.5)
    assert tab.wait_for(lambda: tab.meshes > seen)
    assert mine.wait()
    assert "+1.50" in mine.studio.history.steps[-1].label
    tab.say("undo")
    assert tab.wait_for(lambda: mine.studio.history.at == 0)


def test_a_page_gets_the_template_once_and_the_marks_of_the_selection(server: StudioServer, open_tab: Open) -> None:
    tab = open_tab(11)
    hello, arrays = tab.received["hello"]
    assert len(hello["regions"]) == 39 and hello["groups"]["nose"]
    assert len(arrays["uv"]) == 2 * len(arrays["vertex"]) and arrays["faces"].max() < len(arrays["vertex"])
    tab.say("select", names=["left_cheek"])
    tab.say("lock", on=True)
    tab.say("select", names=["right_cheek"])
    assert tab.wait_for(lambda: tab.state["selection"] == ["right_cheek"])
    assert session(server, 11).wait()
    tab.quiet(0.3)
    still = tab.received["still"][1]
    owner, cheek = still["owner"], [region["name"] for region in hello["regions"]].index("left_cheek")
    assert len(owner) == len(still["reach"]) == len(still["vertices"]) // 3
    assert (still["locked"][owner == cheek] == 255).all() and not still["locked"][owner != cheek].any()
    assert still["reach"].any() and not still["mirror"].any(), "a locked mirror image does not move"
    tab.say("unlock all")
    assert tab.wait_for(lambda: tab.received["still"][1]["mirror"].any())
    assert tab.messages == []


def test_a_page_that_asks_for_the_skin_gets_pictures_of_skin_and_eyes(server: StudioServer, open_tab: Open) -> None:
    tab = open_tab(12)
    tab.say("skin")
    assert tab.wait_for(lambda: "skin" in tab.received)
    message, arrays = tab.received["skin"]
    assert message["key"] == "painted" == tab.state["skin"]
    assert all(bytes(arrays[name][:2]) == b"\xff\xd8" for name in ("skin", "eye"))


def test_no_tab_sees_what_another_one_does(server: StudioServer, open_tab: Open) -> None:
    first, second = open_tab(2), open_tab(3)
    second.quiet(3.0)  # on a busy machine its own first surface takes long
    seen = second.meshes
    first.say("random")
    assert first.wait_for(lambda: len(session(server, 2).studio.document.heads) == 2)
    second.quiet(0.5)
    assert len(session(server, 3).studio.document.heads) == 1
    assert second.meshes == seen


def test_a_reload_returns_to_the_same_session(server: StudioServer, open_tab: Open) -> None:
    tab = open_tab(4)
    mine = session(server, 4)
    mine.do(RandomHead(12))
    assert mine.wait()
    tab.close()
    again = open_tab(4)
    assert session(server, 4) is mine
    assert again.wait_for(lambda: again.head() == "random 12")


def test_a_reload_returns_even_before_its_old_connection_has_ended(server: StudioServer, open_tab: Open) -> None:
    tab = open_tab(15)
    mine = session(server, 15)
    mine.do(RandomHead(15))
    assert mine.wait()
    late = threading.Timer(0.3, tab.close)
    late.start()
    again = open_tab(15)
    late.join()
    assert again.head() == "random 15"


def test_a_duplicated_tab_gets_a_session_of_its_own(server: StudioServer, open_tab: Open) -> None:
    open_tab(5)
    session(server, 5).do(RandomHead(13))
    assert session(server, 5).wait()
    copy = open_tab(5)
    assert copy.head() == "mean head"


def test_a_page_returns_after_its_connection_broke_unnoticed(server: StudioServer, open_tab: Open) -> None:
    page = "f" * 32
    first = CLIENTS.Tab(server.address, f"{10:032x}", page)
    assert first.wait_for(lambda: first.meshes > 0)
    mine = session(server, 10)
    mine.do(RandomHead(14))
    assert mine.wait()
    second = CLIENTS.Tab(server.address, f"{10:032x}", page)
    assert second.wait_for(lambda: second.meshes > 0)
    assert second.head() == "random 14"
    first.close()
    seen = second.meshes
    second.say("random")
    assert second.wait_for(lambda: second.meshes > seen), "the end of the old connection must not close the new page"
    second.close()


def test_an_error_in_one_session_does_not_affect_the_others(
    server: StudioServer, open_tab: Open, caplog: pytest.LogCaptureFixture
) -> None:
    failing, other = open_tab(6), open_tab(7)

    def fail(_: Studio) -> None:
        raise ZeroDivisionError("inside")

    with caplog.at_level(logging.CRITICAL):
        session(server, 6).change(fail)
        assert failing.wait_for(lambda: any("Something went wrong" in line for line in failing.messages))
    other.say("random")
    assert other.wait_for(lambda: len(session(server, 7).studio.document.heads) == 2)
    assert other.messages == []


def test_an_upload_over_the_limit_is_refused_before_it_is_sent(server: StudioServer, open_tab: Open) -> None:
    tab = open_tab(8)
    tab.say("upload", name="../big.ply", size=2 << 30)
    assert tab.wait_for(lambda: bool(tab.messages))
    assert tab.messages[0].startswith("big.ply: has 2048 MB")
    for _ in range(4):
        tab.send(bytes(1 << 20))
    tab.say("random")
    assert tab.wait_for(lambda: len(session(server, 8).studio.document.heads) == 2)
    assert session(server, 8).page._commands._upload is None and len(tab.messages) == 1


def test_an_upload_larger_than_announced_is_not_collected(server: StudioServer, open_tab: Open) -> None:
    tab = open_tab(9)
    tab.say("upload", name="x.ply", size=10)
    tab.send(bytes(5000))
    assert tab.wait_for(lambda: bool(tab.messages))
    assert session(server, 9).page._commands._upload is None


def test_an_upload_arrives_piece_by_piece_and_is_refused_in_words(server: StudioServer, open_tab: Open) -> None:
    tab = open_tab(13)
    content = b"ply\nnonsense" + bytes(3000)
    tab.say("upload", name="face.ply", size=len(content))
    tab.send(content[:1000])
    tab.send(content[1000:])
    assert tab.wait_for(lambda: bool(tab.messages))
    assert tab.messages[0].startswith("face.ply: ")
    assert tab.wait_for(lambda: tab.jobs == [])


def test_the_session_of_a_closed_tab_expires(model: Model) -> None:
    server = start(model, StudioConfig(port=0, keep_s=0.0))
    try:
        tab = CLIENTS.Tab(server.address, f"{1:032x}")
        assert tab.wait_for(lambda: tab.meshes > 0)
        (mine,) = server.sessions().values()
        assert mine.wait()
        work = {"session": weakref.ref(mine), "state": weakref.ref(mine.studio), **large_parts(mine)}
        del mine
        tab.close()
        until = time.monotonic() + 30.0
        while server.sessions() and time.monotonic() < until:
            time.sleep(0.05)
        assert server.sessions() == {}
        assert still_alive(work) == []
    finally:
        server.stop()


def large_parts(mine: Any) -> dict[str, weakref.ref[Any]]:
    """The large objects of an open tab."""
    parts = {
        "page": mine.page,
        "queue": mine.page._outbox,
        "view": mine.shown,
        "mesh": mine.shown.mesh,
        "surface": mine._surfaces._recent[-1][1],
    }
    return {name: weakref.ref(part) for name, part in parts.items()}


def still_alive(parts: dict[str, weakref.ref[Any]], seconds: float = 30.0) -> list[str]:
    until = time.monotonic() + seconds
    while (left := [name for name, part in parts.items() if part() is not None]) and time.monotonic() < until:
        time.sleep(0.1)
        gc.collect()
    return left


def test_a_closed_tab_keeps_only_its_state(server: StudioServer, open_tab: Open) -> None:
    tab = open_tab(40)
    mine = session(server, 40)
    CLIENTS.do_random_things(tab, 40, 12, pause_s=0.0)
    mine.set_display("movement")
    assert mine.wait()
    parts, steps = large_parts(mine), len(mine.studio.history.steps)
    tab.close()
    assert still_alive(parts) == []
    assert session(server, 40) is mine and len(mine.studio.history.steps) == steps


def test_a_tab_that_closes_before_its_first_surface_keeps_nothing_large(server: StudioServer) -> None:
    tab = CLIENTS.Tab(server.address, f"{41:032x}")
    assert tab.wait_for(lambda: f"{41:032x}" in server.sessions())
    mine = session(server, 41)
    tab.close()
    until = time.monotonic() + 30.0
    while f"{41:032x}" not in server._closed_at:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert mine.wait()
    assert mine.page is None and mine.shown is None and not mine._surfaces._recent


def test_a_full_studio_says_so(model: Model) -> None:
    server = start(model, StudioConfig(port=0, most_sessions=1))
    try:
        first = CLIENTS.Tab(server.address, f"{1:032x}")
        assert first.wait_for(lambda: first.meshes > 0)
        second = CLIENTS.Tab(server.address, f"{2:032x}")
        assert second.wait_for(lambda: bool(second.messages))
        assert second.messages == ["full"]
        first.close()
        second.close()
    finally:
        server.stop()


def test_a_closed_tab_frees_its_place_at_once_when_the_studio_is_full(model: Model) -> None:
    server = start(model, StudioConfig(port=0, most_sessions=2))
    try:
        tabs = [CLIENTS.Tab(server.address, f"{number:032x}") for number in (1, 2)]
        assert all(tab.wait_for(lambda tab=tab: tab.meshes > 0) for tab in tabs)
        first, second = (session(server, number) for number in (1, 2))
        tabs[0].close()
        until = time.monotonic() + 30.0
        while f"{1:032x}" not in server._closed_at and time.monotonic() < until:
            time.sleep(0.02)
        assert session(server, 1) is first, "with a place left for nobody else, it is kept for a reload"
        third = CLIENTS.Tab(server.address, f"{3:032x}")
        assert third.wait_for(lambda: third.meshes > 0) and third.messages == []
        assert set(server.sessions()) == {f"{2:032x}", f"{3:032x}"}
        assert session(server, 2) is second, "an open tab keeps its place"
        first._worker.join(100.0)
        assert not first._worker._thread.is_alive()
        for tab in (tabs[1], third):
            tab.close()
    finally:
        server.stop()


@pytest.mark.parametrize("config", [StudioConfig(port=70000), StudioConfig(port=-1)])
def test_an_invalid_setting_is_refused(model: Model, config: StudioConfig) -> None:
    with pytest.raises(InputError):
        start(model, config)


def test_random_commands_in_several_tabs_cause_no_errors(server: StudioServer, open_tab: Open) -> None:
    numbers = (20, 21, 22)
    made = [open_tab(number) for number in numbers]
    for number, tab in zip(numbers, made):
        CLIENTS.do_random_things(tab, number, 15, pause_s=0.0)
    for number, tab in zip(numbers, made):
        assert session(server, number).wait(60.0)
        assert not any("Something went wrong" in line for line in tab.messages)
    names = [set(session(server, number).studio.document.names()) - {"mean head"} for number in numbers]
    assert not names[0] & names[1] and not names[1] & names[2]
