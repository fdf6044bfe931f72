"""The heads of the session: new ones, scans, and which is shown."""

from __future__ import annotations

import secrets

import viser

from imhead.io.scan_file import SCAN_EXTENSIONS
from imhead.studio.session.tab_session import FittedScan, TabSession
from imhead.studio.session.uploads import MAX_UPLOAD_BYTES
from imhead.studio.state.commands import DropHead, RandomHead, ShowHead
from imhead.studio.state.project import PROJECT_SUFFIX
from imhead.studio.state.studio import Studio
from imhead.studio.web.panels.widgets import put


class HeadsPanel:
    """Library, random heads, uploads and how a fit went."""

    def __init__(self, gui: viser.GuiApi, session: TabSession) -> None:
        self._session = session
        self._library = gui.add_dropdown("head", ("-",))
        self._library.on_update(self._show)
        gui.add_button("new random head", icon=viser.Icon.DICE).on_click(self._random)
        self._drop = gui.add_button("take this head out", icon=viser.Icon.TRASH)
        self._drop.on_click(self._take_out)
        kinds = ", ".join((*SCAN_EXTENSIONS, ".safetensors", PROJECT_SUFFIX))
        self._upload = gui.add_upload_button(
            "open scan, head or project", icon=viser.Icon.UPLOAD, hint=f"{kinds}; up to {MAX_UPLOAD_BYTES >> 20} MB"
        )
        self._upload.on_upload(self._take_in)
        gui.add_markdown(f"<small>up to {MAX_UPLOAD_BYTES >> 20} MB; files stay on this machine</small>")
        self._stage = gui.add_markdown("", visible=False)
        self._bar = gui.add_progress_bar(0.0, visible=False, animated=True)
        self._fit = gui.add_markdown("", visible=False)
        self._overlay = gui.add_checkbox("show the scan over the head", False, visible=False)
        self._overlay.on_update(self._lay_over)

    def sync(self, studio: Studio) -> None:
        """Say what the state says."""
        names = studio.document.names()
        if self._library.options != names:
            self._library.options = names
        put(self._library, studio.document.current.name)
        self._drop.disabled = len(names) == 1
        fitted = self._session.fitted.get(studio.document.current.name)
        self._fit.visible = self._overlay.visible = fitted is not None
        if fitted is not None:
            self._fit.content = _fit_words(fitted)
            put(self._overlay, self._session.overlay)

    def progress(self, stage: str, part: float | None) -> None:
        """How far a fit is; None when it is over."""
        self._stage.visible = self._bar.visible = part is not None
        self._upload.disabled = part is not None
        if part is not None:
            self._stage.content = stage
            put(self._bar, 100.0 * part)

    async def _show(self, event: viser.GuiEvent[viser.GuiDropdownHandle[str]]) -> None:
        name = self._library.value
        if event.client is not None and name != self._session.studio.document.current.name:
            self._session.do(ShowHead(name))

    async def _random(self, event: viser.GuiEvent[viser.GuiButtonHandle]) -> None:
        self._session.do(RandomHead(secrets.randbelow(1_000_000)))

    async def _take_out(self, event: viser.GuiEvent[viser.GuiButtonHandle]) -> None:
        self._session.do(DropHead())

    async def _take_in(self, event: viser.GuiEvent[viser.GuiUploadButtonHandle]) -> None:
        file = self._upload.value
        # the widget would hold the file for as long as the page lives
        self._upload._impl.value = viser.UploadedFile("", b"")
        self._session.upload(file.name, file.content)

    async def _lay_over(self, event: viser.GuiEvent[viser.GuiCheckboxHandle]) -> None:
        if event.client is not None:
            self._session.show_overlay(self._overlay.value)


def _fit_words(fitted: FittedScan) -> str:
    lines = [
        f"median distance **{fitted.median_mm:.2f} mm** over the {100 * fitted.explained:.0f} % "
        "of the scan that the head explains"
    ]
    return "\n\n".join([*lines, *(f"⚠ {warning}" for warning in fitted.warnings)])
