"""A head that was fitted to a scan: its figures, its registration, its skin and its files.

The examples run as they stand, after those of `api/heads.py`, and `fitted = model.fit(scan)`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imhead.api.heads import EditableHead
from imhead.avatar.baking import skin_of
from imhead.avatar.kept import Kept, unexplained
from imhead.avatar.look import DEFAULT_TEXTURE, TEXTURE_SIZES
from imhead.errors import InputError
from imhead.fitting.result import FitResult
from imhead.registration.config import RegistrationConfig
from imhead.registration.register import Registration, register
from imhead.reports.fit_report import write_fit
from imhead.types import Head, Scan


@dataclass(frozen=True, eq=False, repr=False)
class FittedHead(EditableHead):
    """A head that was fitted to a scan, and how well it explains the scan. Edits return a plain `EditableHead`."""

    scan: Scan
    """The scan, in its own frame and unit."""
    result: FitResult
    """Mesh, pose, distances and warnings of the fit."""
    registration: Registration | None = None
    """The template on the scan itself, from `register`."""

    def __repr__(self) -> str:
        """
        >>> fitted
        FittedHead(default, fitted to demo_scan; median 0... mm over ... % of the scan)
        """
        report = self.result.report()
        median, share = report["scan_to_head_mm"]["median"], report["explained_fraction"]
        told = "explains nothing of the scan" if median is None else f"median {median:.2f} mm"
        return f"FittedHead({self.model.name}, {self.codes.provenance[0]}; {told} over {100 * share:.0f} % of the scan)"

    def _told(self) -> list[tuple[str, object]]:
        """
        >>> "median 0." in fitted._repr_html_()
        True
        """
        report = self.result.report()
        spread, share = report["scan_to_head_mm"], report["explained_fraction"]
        close = "nothing" if spread["median"] is None else f"median {spread['median']:.2f}, p90 {spread['p90']:.2f} mm"
        unit = f"{report['units']}{', assumed' if report['scale_assumed'] else ''}"
        rows = [("scan", self.scan.name), ("explained", f"{100 * share:.0f} %: {close}"), ("unit of the scan", unit)]
        return [*super()._told(), *rows, *(("warning", line) for line in self.result.warnings)]

    def report(self) -> dict[str, Any]:
        """The figures of the fit, as `report.json` holds them.

        >>> fitted.report()["units"]
        'cm'
        """
        registered = {} if self.registration is None else {"registered": self.registration.report()}
        return self.result.report() | registered

    def register(self, config: RegistrationConfig = RegistrationConfig()) -> FittedHead:
        """The same head with the template's vertices on the scan itself where the scan shows skin, beyond what codes
        can say. `mesh(surface="template")`, `animated` and the head file then show it, and edits carry it along.

        Raises:
            InputError: the model has no template, or hardly a point of the scan shows skin.

        >>> registered = fitted.register()
        >>> registered.report()["registered"]["scan_to_surface_mm"]["median"] < 0.1
        True
        """
        found = register(self.result, self.scan, self.model, config)
        return self._of_codes(replace(found.head, skin=self.codes.skin), registration=found)

    def with_skin(self, texture: int = DEFAULT_TEXTURE) -> FittedHead:
        """The same head with the colours of its scan on the template's UVs: an avatar shows them, the head file keeps
        them beside itself, and edits carry them along. A scan that was not registered is registered for this.

        Args:
            texture: side of the picture, pixels.

        Raises:
            InputError: the scan has no colours, or hardly any on the skin, or cannot be registered.

        >>> fitted.scan.colored and fitted.with_skin(1024)
        False
        """
        if texture not in TEXTURE_SIZES:
            raise InputError(f"a texture of {texture} pixels is not made; use {', '.join(map(str, TEXTURE_SIZES))}")
        if not self.scan.colored:
            raise InputError(f"{self.scan.name}: has no colours; scan it with a texture, or leave the skin painted")
        found = self.registration or register(self.result, self.scan, self.model)
        skin = skin_of(self.result, found, self.scan, self.model, texture)
        return self._of_codes(replace(self.codes, skin=skin), registration=self.registration)

    def keeping_colors(self, texture: int = DEFAULT_TEXTURE) -> FittedHead:
        """`with_skin` if the scan has colours; where they cannot be kept, a warning says why.

        >>> fitted.keeping_colors() is fitted  # this scan has none
        True
        """
        if not self.scan.colored:
            return self
        try:
            return self.with_skin(texture)
        except InputError as error:
            warnings = (*self.result.warnings, f"its colours were left out: {error}")
            return replace(self, result=replace(self.result, warnings=warnings))

    def unexplained(self) -> tuple[Kept, ...]:
        """Hair, beard, glasses and what else the fit does not explain over and behind the face, without clothes, as
        parts for `avatar`; none where all is explained.

        Raises:
            InputError: the scan is a cloud of points, or the model has no template.

        >>> [part.name for part in fitted.unexplained()]
        []
        """
        return unexplained(self.result, self.scan, self.mesh(surface="template").vertices)

    def _of_codes(self, codes: Head, registration: Registration | None) -> FittedHead:
        return replace(self, codes=codes, result=replace(self.result, head=codes), registration=registration)

    def write(self, folder: str | Path) -> dict[str, Any]:
        """Write what `imhead fit` writes: head file, mesh, overlay, report and pictures; returns the report.

        >>> report = fitted.write(out / "fit")
        >>> sorted(path.name for path in (out / "fit").iterdir())
        ['head.ply', 'head.safetensors', 'overlay.ply', 'report.json', 'report.png', 'sigma.png']
        """
        return write_fit(self.result, self.scan, Path(folder), self.registration)
