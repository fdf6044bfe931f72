"""From what a page sends to what its session does. A message is JSON with `do`, or a piece of an upload."""

from __future__ import annotations

import json
import logging
import math
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from imhead.conventions import ARKIT_NAMES
from imhead.isosurface.field import code_of_weights, expression_weights
from imhead.studio.session.page_protocol import DISPLAY_MODES
from imhead.studio.session.surface import quick_mesh
from imhead.studio.session.tab_session import TabSession
from imhead.studio.session.uploads import MAX_UPLOAD_BYTES, too_large
from imhead.studio.state.commands.edits import (
    BlendHeads,
    CopyRegions,
    MoveAlong,
    MoveByWord,
    ResetRegions,
    SampleRegions,
    SetMeasurement,
)
from imhead.studio.state.commands.expression import SetExpression
from imhead.studio.state.commands.library import RandomHead, RemoveHead, RenameHead, ShowHead
from imhead.studio.state.studio import Studio
from imhead.studio.web.presets import EXPRESSION_PRESETS
from imhead.types import Head, Mesh

log = logging.getLogger("imhead.studio.web")

_LONGEST_TEXT, _LONGEST_NAME = 200, 1024
Message = Mapping[str, Any]


class Answering(Protocol):
    """What a page sends when it is asked, beside what its session shows."""

    def show_skin(self) -> None:
        """Send the pictures of the shown head's skin and eyes."""

    def show_meshes(self, kind: str, found: Mapping[str, tuple[Head, Mesh]]) -> None:
        """Send meshes by name, for thumbnails."""

    def show_error(self, sentence: str, nearest: Mapping[str, float]) -> None:
        """Show an error message."""


class Commands:
    """Turns the messages of one page into commands of its session.

    Args:
        session: the page's.
        page: is asked for pictures and told of refused uploads.
    """

    def __init__(self, session: TabSession, page: Answering) -> None:
        self._session, self._page = session, page
        self._upload: tuple[str, int, bytearray] | None = None
        change, do, draft = session.change, session.do, session.draft
        self._known: dict[str, Callable[[Message], object]] = {
            "select": lambda m: change(_selecting(_texts(m, "names"), bool(m.get("add")))),
            "symmetric": lambda m: change(_mirroring(bool(m["on"]))),
            "lock": lambda m: change(_locking(bool(m["on"]))),
            "unlock all": lambda _: change(_unlock_all),
            "word": lambda m: draft(lambda s: MoveByWord(s.scope, _text(m, "key"), _number(m, "value"))),
            "shape": lambda m: draft(lambda s: MoveAlong(s.scope, int(_number(m, "key")), _number(m, "value"))),
            "blend": lambda m: draft(lambda s: BlendHeads(s.scope, _pairs(m, "shares"))),
            "express": lambda m: self._express(_pairs(m, "weights")),
            "hold": lambda _: session.hold(),
            "release": lambda _: session.release(),
            "sample": lambda _: change(_sampled),
            "reset": lambda _: change(lambda s: s.do(ResetRegions(s.scope))),
            "measure": lambda m: self._measure(_text(m, "name"), _number(m, "value")),
            "range": lambda m: session.find_range(_text(m, "name")),
            "handle": lambda m: session.find_handle(int(_number(m, "vertex"))),
            "copy": lambda m: self._copy(_text(m, "name"), _number(m, "strength")),
            "preset": lambda m: self._preset(_text(m, "name")),
            "presets": lambda _: self._thread(self._show_presets),
            "face": lambda _: session.find_face(),
            "show": lambda m: do(ShowHead(_text(m, "name"))),
            "random": lambda _: do(RandomHead(secrets.randbelow(1_000_000))),
            "remove": lambda _: do(RemoveHead()),
            "rename": lambda m: do(RenameHead(_text(m, "name"))),
            "undo": lambda _: change(Studio.undo),
            "redo": lambda _: change(Studio.redo),
            "jump": lambda m: change(_jumping(int(_number(m, "number")))),
            "name step": lambda m: self._name_step(int(_number(m, "number")), _text(m, "label")),
            "display": lambda m: session.set_display(DISPLAY_MODES[DISPLAY_MODES.index(m["mode"])]),
            "other": lambda m: session.set_other(_text(m, "name")),
            "beyond": lambda m: session.set_beyond(bool(m["on"])),
            "compare scans": lambda m: session.compare_scans(_text(m, "name"), bool(m["on_selection"])),
            "change report": lambda _: session.save_change_report(),
            "overlay": lambda m: session.set_overlay(bool(m["on"])),
            "export": lambda m: session.export(_text(m, "what"), bool(m.get("take"))),
            "project": lambda _: session.save_project(),
            "cancel": lambda m: session.cancel(int(_number(m, "number"))),
            "skin": lambda _: self._thread(page.show_skin),
            "upload": lambda m: self._begin(_text(m, "name", _LONGEST_NAME), int(_number(m, "size"))),
        }

    def receive(self, message: str | bytes) -> None:
        """Do what a message asks.

        Raises:
            ValueError, LookupError, TypeError: it cannot be understood.
        """
        if isinstance(message, bytes):
            self._collect(message)
            return
        said = json.loads(message)
        self._known[said["do"]](said)

    def close(self) -> None:
        """The page is gone."""
        self._upload = None

    def _express(self, weights: tuple[tuple[str, float], ...]) -> None:
        self._session.draft(lambda _: SetExpression(tuple(pair for pair in weights if pair[1] > 0.0)))

    def _preset(self, name: str) -> None:
        self._session.do(SetExpression(tuple(EXPRESSION_PRESETS[name].items())))

    def _measure(self, name: str, value: float) -> None:
        self._session.change(lambda studio: studio.do(SetMeasurement(studio.scope, name, value)))

    def _copy(self, name: str, strength: float) -> None:
        self._session.change(lambda studio: studio.do(CopyRegions(studio.scope, name, strength)))

    def _name_step(self, number: int, label: str) -> None:
        def action(studio: Studio) -> None:
            studio.settle()
            studio.history.rename(number, label)

        self._session.change(action)

    def _show_presets(self) -> None:
        model = self._session.model
        neutral = replace(self._session.studio.head, z_exp=model.neutral().z_exp)
        found: dict[str, tuple[Head, Mesh]] = {}
        for name, weights in EXPRESSION_PRESETS.items():
            head = replace(neutral, z_exp=code_of_weights(model, expression_weights(weights)))
            found[name] = head, quick_mesh(model, head)
        self._page.show_meshes("preset", found)

    def _thread(self, action: Callable[[], None]) -> None:
        threading.Thread(target=self._session.reporting(action), daemon=True).start()

    def _begin(self, name: str, size: int) -> None:
        """The page announces a file; nothing is kept of one that is too large."""
        if not 0 <= size <= MAX_UPLOAD_BYTES:
            self._upload = None
            self._page.show_error(str(too_large(name, size)), {})
            return
        self._upload = name, size, bytearray()
        self._finish()

    def _collect(self, piece: bytes) -> None:
        if self._upload is None:
            return  # it was refused
        name, size, content = self._upload
        if len(content) + len(piece) > size:
            self._upload = None
            self._page.show_error(str(too_large(name, len(content) + len(piece))), {})
            return
        content += piece
        self._finish()

    def _finish(self) -> None:
        if self._upload is not None and len(self._upload[2]) == self._upload[1]:
            (name, _, content), self._upload = self._upload, None
            self._session.upload(name, bytes(content))


def _selecting(names: tuple[str, ...], add: bool) -> Callable[[Studio], None]:
    return lambda studio: studio.select(names, add=add)


def _mirroring(on: bool) -> Callable[[Studio], None]:
    return lambda studio: studio.set_symmetric(on)


def _locking(on: bool) -> Callable[[Studio], None]:
    return lambda studio: studio.set_locked(studio.settings.selection, on)


def _jumping(number: int) -> Callable[[Studio], None]:
    return lambda studio: studio.jump(number)


def _unlock_all(studio: Studio) -> None:
    if studio.settings.locked:
        studio.set_locked(tuple(studio.settings.locked), False)


def _sampled(studio: Studio) -> None:
    studio.do(SampleRegions(studio.scope, secrets.randbelow(1 << 31)))


def _text(message: Message, name: str, most: int = _LONGEST_TEXT) -> str:
    value = message[name]
    if not isinstance(value, str) or len(value) > most:
        raise ValueError(name)
    return value


def _texts(message: Message, name: str) -> tuple[str, ...]:
    return tuple(_text({name: value}, name) for value in message[name][:_LONGEST_TEXT])


def _number(message: Message, name: str) -> float:
    value = message[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(name)
    return float(value)


def _pairs(message: Message, name: str) -> tuple[tuple[str, float], ...]:
    pairs = [(pair[0], pair[1]) for pair in message[name][: len(ARKIT_NAMES)]]
    return tuple((_text({name: text}, name), _number({name: value}, name)) for text, value in pairs)
