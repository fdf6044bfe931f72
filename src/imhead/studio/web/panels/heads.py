"""The panel of heads: choose, add and remove heads, and upload scans."""

from __future__ import annotations

import secrets

import viser

from imhead.io.scan_file import SCAN_EXTENSIONS
from imhead.studio.session.page_protocol import FittedScan
from imhead.studio.session.tab_session import TabSession
from imhead.studio.session.uploads import MAX_UPLOAD_BYTES
from imhead.studio.state.commands.library import RandomHead, RemoveHead, ShowHead
from imhead.studio.state.project import PROJECT_SUFFIX
from imhead.studio.state.studio import Studio
from imhead.studio.web.panels.widgets import put


class HeadsPanel:
    """List of heads, random heads, uploads, and the quality of a fit."""

    def __init__(self, gui: viser.GuiApi, session: TabSession) -> None:
        self._session = session
        self._heads = gui.add_dropdown("head", ("-",))
        self._heads.on_update(self._show)
        gui.add_button("new random head", icon=viser.Icon.DICE).on_click(self._random)
        self._remove = gui.add_button("remove this head", icon=viser.Icon.TRASH)
        self._remove.on_click(self._remove_head)
        kinds = ", ".join((*SCAN_EXTENSIONS, ".safetensors", PROJECT_SUFFIX))
        self._upload = gui.add_upload_button(
            "open scan, head or project", icon=viser.Icon.UPLOAD, hint=f"{kinds}; up to {MAX_UPLOAD_BYTES >> 20} MB"
        )
        self._upload.on_upload(self._receive)
        gui.add_markdown(f"<small>up to {MAX_UPLOAD_BYTES >> 20} MB; files stay on this machine</small>")
        self._progress_stage = gui.add_markdown("", visible=False)
        self._progress_bar = gui.add_progress_bar(0.0, visible=False, animated=True)
        self._fit = gui.add_markdown("", visible=False)
        self._overlay = gui.add_checkbox("show the scan over the head", False, visible=False)
        self._overlay.on_update(self._toggle_overlay)

    def sync(self, studio: Studio) -> None:
        """Update the widgets from the state."""
        names = studio.document.names()
        if self._heads.options != names:
            self._heads.options = names
        put(self._heads, studio.document.current.name)
        self._remove.disabled = len(names) == 1
        fitted = self._session.fitted.get(studio.document.current.name)
        self._fit.visible = self._overlay.visible = fitted is not None
        if fitted is not None:
            self._fit.content = _fit_summary(fitted)
            put(self._overlay, self._session.overlay)

    def show_progress(self, stage: str, part: float | None) -> None:
        """Show how far an upload is, 0 to 1; None when it is over."""
        self._progress_stage.visible = self._progress_bar.visible = part is not None
        self._upload.disabled = part is not None
        if part is not None:
            self._progress_stage.content = stage
            put(self._progress_bar, 100.0 * part)

    async def _show(self, event: viser.GuiEvent[viser.GuiDropdownHandle[str]]) -> None:
        name = self._heads.value
        if event.client is not None and name != self._session.studio.document.current.name:
            self._session.do(ShowHead(name))

    async def _random(self, event: viser.GuiEvent[viser.GuiButtonHandle]) -> None:
        self._session.do(RandomHead(secrets.randbelow(1_000_000)))

    async def _remove_head(self, event: viser.GuiEvent[viser.GuiButtonHandle]) -> None:
        self._session.do(RemoveHead())

    async def _receive(self, event: viser.GuiEvent[viser.GuiUploadButtonHandle]) -> None:
        file = self._upload.value
        # else the widget would keep the file as long as the page lives
        self._upload._impl.value = viser.UploadedFile("", b"")
        self._session.upload(file.name, file.content)

    async def _toggle_overlay(self, event: viser.GuiEvent[viser.GuiCheckboxHandle]) -> None:
        if event.client is not None:
            self._session.set_overlay(self._overlay.value)


def _fit_summary(fitted: FittedScan) -> str:
    lines = [
        f"median distance **{fitted.median_mm:.2f} mm** over the {100 * fitted.explained:.0f} % "
        "of the scan that the head fits"
    ]
    return "\n\n".join([*lines, *(f"⚠ {warning}" for warning in fitted.warnings)])
