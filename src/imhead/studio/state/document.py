"""What a person works on, as one immutable value: the heads of a session, and which of them is shown."""

from __future__ import annotations

from dataclasses import dataclass, replace

from imhead.errors import InputError
from imhead.types import Head

LONGEST_NAME = 60


@dataclass(frozen=True, eq=False)
class NamedHead:
    """A head of the library."""

    name: str
    """What the list calls it; unique in its document."""
    codes: Head
    """Its codes."""
    origin: Head
    """Its codes when it came into the library; what `reset` and `before` mean."""


@dataclass(frozen=True, eq=False)
class Document:
    """The library of heads and the one that is being edited. A change makes a new document."""

    heads: tuple[NamedHead, ...]
    """At least one."""
    active: int
    """Row of the head that is shown."""

    @property
    def current(self) -> NamedHead:
        """The head that is shown."""
        return self.heads[self.active]

    @property
    def head(self) -> Head:
        """Its codes."""
        return self.current.codes

    def names(self) -> tuple[str, ...]:
        """Names of the library, in its order."""
        return tuple(named.name for named in self.heads)

    def named(self, name: str) -> NamedHead:
        """A head of the library.

        Raises:
            InputError: there is none of that name.
        """
        for named in self.heads:
            if named.name == name:
                return named
        raise InputError(f"no head of this session is named {name!r}; it has {', '.join(self.names())}")

    def with_head(self, head: Head) -> Document:
        """The same library with other codes for the head that is shown."""
        changed = replace(self.current, codes=head)
        return replace(self, heads=(*self.heads[: self.active], changed, *self.heads[self.active + 1 :]))

    def with_added(self, name: str, head: Head) -> Document:
        """The library with one more head, which is shown; a name that is taken gets a number."""
        return Document((*self.heads, NamedHead(self._free_name(name), head, head)), len(self.heads))

    def _free_name(self, name: str) -> str:
        # a name comes from a file that anyone may have made
        plain = "".join(c for c in " ".join(name.split()) if c.isprintable())[:LONGEST_NAME] or "head"
        taken, free, number = set(self.names()), plain, 2
        while free in taken:
            free, number = f"{plain} {number}", number + 1
        return free


def first_document(head: Head, name: str = "mean head") -> Document:
    """A library of one head."""
    return Document((NamedHead(name, head, head),), 0)
