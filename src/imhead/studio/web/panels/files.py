"""Files to save."""

from __future__ import annotations

import viser

from imhead.studio.session.exports import KINDS
from imhead.studio.session.tab_session import TabSession

_ABOUT = {
    "GLB": "one topology with UVs and the 52 ARKit shapes, metres",
    "OBJ": "watertight mesh, mm",
    "PLY": "watertight mesh, mm",
    "STL": "watertight mesh, mm, for printing",
    "head file": "the codes: opens again here and with imhead",
    "report": "what moved since the head came in, as a page",
}


class FilesPanel:
    """Exports of the head that is shown, and the project."""

    def __init__(self, gui: viser.GuiApi, session: TabSession) -> None:
        self._session = session
        for kind in KINDS:
            self._add(gui, kind)
        gui.add_divider()
        gui.add_button("save project", hint="every head and step; open it again under Heads").on_click(self._save)

    def _add(self, gui: viser.GuiApi, kind: str) -> None:
        button = gui.add_button(f"save {kind}", hint=_ABOUT[kind], icon=viser.Icon.DOWNLOAD)

        @button.on_click
        async def _(event: viser.GuiEvent[viser.GuiButtonHandle]) -> None:
            self._session.export(kind)

    async def _save(self, event: viser.GuiEvent[viser.GuiButtonHandle]) -> None:
        self._session.save_project()
