"""The panel of files to save."""

from __future__ import annotations

import viser

from imhead.studio.session.exports import KINDS
from imhead.studio.session.tab_session import TabSession

_ABOUT = {
    "GLB": "mesh with UVs and the 52 ARKit shapes, in metres",
    "OBJ": "mesh with UVs, in mm",
    "PLY": "mesh, in mm",
    "STL": "closed mesh for 3D printing, in mm",
    "head file": "the head's codes; opens again here and in imhead",
    "report": "web page: what changed since the head was added",
}


class FilesPanel:
    """Buttons that save the shown head and the project."""

    def __init__(self, gui: viser.GuiApi, session: TabSession) -> None:
        self._session = session
        for kind in KINDS:
            self._add(gui, kind)
        gui.add_divider()
        gui.add_button("save project", hint="every head and every step; opens again under Heads").on_click(self._save)

    def _add(self, gui: viser.GuiApi, kind: str) -> None:
        button = gui.add_button(f"save {kind}", hint=_ABOUT[kind], icon=viser.Icon.DOWNLOAD)

        @button.on_click
        async def _(event: viser.GuiEvent[viser.GuiButtonHandle]) -> None:
            self._session.export(kind)

    async def _save(self, event: viser.GuiEvent[viser.GuiButtonHandle]) -> None:
        self._session.save_project()
