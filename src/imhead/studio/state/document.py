"""The document, an immutable value: the heads of a session, and which one is shown."""

from __future__ import annotations

from dataclasses import dataclass, replace

from imhead.errors import InputError
from imhead.types import Head

LONGEST_NAME = 60
"""Characters of a head's name, before a number is appended."""


@dataclass(frozen=True, eq=False)
class NamedHead:
    """A head of the session."""

    name: str
    """Its name in the list; unique in its document."""
    codes: Head
    """Its codes."""
    origin: Head
    """Its codes when it was added; reset restores them, and *before* shows them."""


@dataclass(frozen=True, eq=False)
class Document:
    """The heads of a session and which one is shown. A change makes a new document."""

    heads: tuple[NamedHead, ...]
    """At least one."""
    active: int
    """Row of the shown head."""
    note: str = ""
    """What the change that made it has to tell, one sentence; usually nothing."""

    @property
    def current(self) -> NamedHead:
        """The shown head."""
        return self.heads[self.active]

    @property
    def head(self) -> Head:
        """Codes of the shown head."""
        return self.current.codes

    def names(self) -> tuple[str, ...]:
        """Names of the heads, in order."""
        return tuple(named.name for named in self.heads)

    def named(self, name: str) -> NamedHead:
        """The head of a name.

        Raises:
            InputError: no head has it.
        """
        for named in self.heads:
            if named.name == name:
                return named
        raise InputError(f"no head of this session is named {name!r}; it has {', '.join(self.names())}")

    def with_head(self, head: Head, note: str = "") -> Document:
        """The document with new codes for the shown head, and what the change has to tell."""
        changed = replace(self.current, codes=head)
        return replace(self, heads=(*self.heads[: self.active], changed, *self.heads[self.active + 1 :]), note=note)

    def with_name(self, name: str) -> Document:
        """The document with another name for the shown head; a number is appended to a name already in use."""
        others = replace(self, heads=(*self.heads[: self.active], *self.heads[self.active + 1 :]), active=0)
        named = replace(self.current, name=others._free_name(name))
        return replace(self, heads=(*self.heads[: self.active], named, *self.heads[self.active + 1 :]), note="")

    def with_added(self, name: str, head: Head) -> Document:
        """The document with one more head, which is shown; a number is appended to a name already in use."""
        return Document((*self.heads, NamedHead(self._free_name(name), head, head)), len(self.heads))

    def _free_name(self, name: str) -> str:
        # the name may come from an untrusted file
        plain = "".join(c for c in " ".join(name.split()) if c.isprintable())[:LONGEST_NAME] or "head"
        used, free, number = set(self.names()), plain, 2
        while free in used:
            free, number = f"{plain} {number}", number + 1
        return free


def first_document(mean: Head) -> Document:
    """A document that holds the mean head only."""
    return Document((NamedHead("mean head", mean, mean),), 0)
