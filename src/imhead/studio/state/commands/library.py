"""Commands that change which heads the session holds, and which one is shown."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.studio.state.document import Document
from imhead.types import Head

_RANDOM_SIGMA = 0.8  # standard deviation of a random head's identity code; below 1 stays plausible


@dataclass(frozen=True, eq=False)
class AddHead:
    """Add a head to the session and show it."""

    name: str
    """Its name; a number is appended if another head has it."""
    head: Head
    """Its codes."""

    @property
    def label(self) -> str:
        return f"new head: {self.name}"

    def apply(self, model: Model, document: Document) -> Document:
        if self.head.model_hash != model.hash:
            raise InputError(f"{self.name}: was made by model {self.head.model_hash}, this session uses {model.hash}")
        return document.with_added(self.name, self.head)


@dataclass(frozen=True)
class RandomHead:
    """Add a random head and show it."""

    seed: int
    """Seed of its identity code."""

    @property
    def label(self) -> str:
        return f"new head: random {self.seed}"

    def apply(self, model: Model, document: Document) -> Document:
        z_id = np.random.default_rng(self.seed).normal(0.0, _RANDOM_SIGMA, model.net.config.identity_size)
        line = f"random head of seed {self.seed}, spread {_RANDOM_SIGMA:g}"
        head = replace(model.neutral(), z_id=z_id, provenance=(line,))
        return document.with_added(f"random {self.seed}", head)


@dataclass(frozen=True)
class ShowHead:
    """Show another head of the session."""

    name: str
    """Its name."""

    @property
    def label(self) -> str:
        return f"show {self.name}"

    def apply(self, model: Model, document: Document) -> Document:
        document.named(self.name)
        return replace(document, active=document.names().index(self.name))


@dataclass(frozen=True)
class RenameHead:
    """Give the shown head another name."""

    name: str
    """Its new name; a number is appended if another head has it."""

    @property
    def label(self) -> str:
        return f"renamed to {self.name.strip()[:40]}"

    def apply(self, model: Model, document: Document) -> Document:
        if not self.name.strip():
            raise InputError("a head needs a name; type one")
        return document.with_name(self.name)


@dataclass(frozen=True)
class RemoveHead:
    """Remove the shown head from the session."""

    @property
    def label(self) -> str:
        return "head removed"

    def apply(self, model: Model, document: Document) -> Document:
        if len(document.heads) == 1:
            raise InputError("this is the only head of the session; add another one first")
        heads = (*document.heads[: document.active], *document.heads[document.active + 1 :])
        return Document(heads, max(document.active - 1, 0))
