"""XML from strangers, read as a stream of elements: no entities, no tree, no object that outlives its use."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.parsers import expat

from imhead.errors import InputError

_PIECE_BYTES = 1 << 20
_DEEPEST = 200
_DECLARED = re.compile(rb"<\?xml[^>]{0,200}?\bencoding\s*=\s*[\"']([^\"'>]*)")
_READ_AS_DECLARED = ("utf-8", "utf-16", "us-ascii", "iso-8859-1")


def read_xml(
    data: bytes,
    label: str,
    begin: Callable[[str, dict[str, str]], None],
    end: Callable[[str, bytes], None],
    with_text: frozenset[str] = frozenset(),
) -> None:
    """Call back for every element.

    Args:
        data: the file.
        label: the file, for messages.
        begin: called with the name, without its namespace, and the attributes.
        end: called with the name and, for the elements in `with_text`, the text directly inside.
        with_text: elements whose text is wanted.

    Raises:
        InputError: not well-formed, nested too deep, or with entities of its own, which can hide a bomb.
    """
    parser = expat.ParserCreate(_encoding(data[:1024]))
    parser.buffer_text = True
    stack: list[str] = []
    texts: list[list[bytes]] = []

    def started(name: str, attributes: dict[str, str]) -> None:
        plain = name.rpartition(":")[2]
        stack.append(plain)
        if len(stack) > _DEEPEST:
            raise InputError(f"{label}: its XML is nested too deep; export it again")
        if plain in with_text:
            texts.append([])
        begin(plain, attributes)

    def ended(name: str) -> None:
        plain = stack.pop()
        end(plain, b"".join(texts.pop()) if plain in with_text else b"")

    def characters(text: str) -> None:
        if stack[-1] in with_text:
            texts[-1].append(text.encode("utf-8", errors="replace"))

    def doctype(name: str, system: str | None, public: str | None, has_entities: int) -> None:
        if has_entities:
            raise InputError(f"{label}: its XML defines entities, which no scan needs; export it again")

    parser.StartElementHandler, parser.EndElementHandler = started, ended
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = characters, doctype
    try:
        for start in range(0, len(data), _PIECE_BYTES):
            parser.Parse(data[start : start + _PIECE_BYTES], False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise InputError(
            f"{label}: its XML makes no sense at line {error.lineno}, it is truncated or damaged; export it again"
        ) from None


def _encoding(start: bytes) -> str | None:
    """The encoding to read a file in whatever it declares; None where that is read as it says.

    Numbers and the names of elements are the same bytes in every encoding of a program that writes scans; expat reads
    few, and asks Python for others, which may know none of that name.
    """
    found = _DECLARED.search(start)
    if found is None or found.group(1).decode("latin-1").lower() in _READ_AS_DECLARED:
        return None
    return "iso-8859-1"


def number_attribute(attributes: dict[str, str], name: str, label: str) -> float:
    """A number among the attributes of an element.

    Raises:
        InputError: it is missing or no number.
    """
    try:
        return float(attributes[name])
    except (KeyError, ValueError):
        shown = ascii(attributes.get(name, "nothing")[:40])
        cause = "a decimal comma" if "," in shown else "no number"
        raise InputError(f"{label}: {name} is {shown}, {cause}; the file is damaged, export it again") from None
