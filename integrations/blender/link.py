# SPDX-License-Identifier: GPL-3.0-or-later
"""The server that this Blender talks to. Address and key are kept in memory only."""

from .client import Client, RefusedError
from .program import Program

_program: Program | None = None
_client: Client | None = None
_words: dict[str, list[str]] = {}
_items: list[tuple[str, str, str]] = [("none", "Not Connected", "")]


def client() -> Client:
    """The server.

    Raises:
        RefusedError: there is none.
    """
    if _client is None:
        raise RefusedError("not connected; press Start, or Connect to a running imhead serve")
    return _client


def connected() -> bool:
    """Whether there is a server."""
    return _client is not None


def words_of(group: str) -> list[str]:
    """Words of a group."""
    return _words.get(group, [])


def group_items() -> list[tuple[str, str, str]]:
    """Groups of regions as choices. Blender needs the same list to live on."""
    return _items


def use(found: Client, program: Program | None = None) -> None:
    """Talk to a server from now on.

    Raises:
        RefusedError: it does not answer, or the key is wrong.
    """
    global _program, _client, _words
    try:
        groups, words = found.groups(), found.words()
    except RefusedError:
        if program is not None:
            program.stop()
        raise
    end()
    _program, _client, _words = program, found, words
    _items[:] = [(name, name.replace("_", " ").capitalize(), "") for name in groups]


def end() -> None:
    """Talk to no server; one that was started here is ended."""
    global _program, _client
    if _program is not None:
        _program.stop()
    _program = _client = None
