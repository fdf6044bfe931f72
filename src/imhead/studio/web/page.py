"""One page in a browser: the view, the panels and the keys. It shows a session and turns input into commands."""

from __future__ import annotations

import numpy as np
import viser

from imhead.regions import Region, resolve
from imhead.studio.session.page_protocol import ShownSurface
from imhead.studio.session.tab_session import TabSession
from imhead.studio.state.labels import readable_name
from imhead.studio.state.studio import Studio
from imhead.studio.web.panels.edit import EditPanel
from imhead.studio.web.panels.expression import ExpressionPanel
from imhead.studio.web.panels.files import FilesPanel
from imhead.studio.web.panels.heads import HeadsPanel
from imhead.studio.web.panels.history import HistoryPanel
from imhead.studio.web.stage import SCENE_UNIT_MM, VIEWS, Stage, View, head_colors, reach_colors
from imhead.template.surface import template_of
from imhead.template.topology import LEFT_EYE
from imhead.types import FloatArray, Mesh


def notify_error(client: viser.ClientHandle, sentence: str) -> None:
    """Show an error message on a client's page for some seconds."""
    client.add_notification("That did not work", sentence, auto_close_seconds=12.0, color="red", with_close_button=True)


class StudioPage:
    """The page of one client."""

    def __init__(self, client: viser.ClientHandle, session: TabSession) -> None:
        self._client, self._session = client, session
        template = template_of(session.model)
        eyes = template.part >= LEFT_EYE
        self._colors, self._stage = head_colors(eyes), Stage(client, template.faces, eyes)
        self._hovered: Region | None = None
        gui = client.gui
        left = gui.add_panel()
        with left.add_tab("Heads", viser.Icon.USERS):
            self._heads = HeadsPanel(gui, session)
        with left.add_tab("History", viser.Icon.HISTORY):
            self._history = HistoryPanel(gui, session)
        left.dock_left()
        left.set_width(264)
        self._views = gui.add_button_group("view", VIEWS)
        self._views.on_click(self._set_view)
        tabs = gui.add_tab_group()
        with tabs.add_tab("Edit", viser.Icon.ADJUSTMENTS):
            self._edit = EditPanel(gui, session)
        with tabs.add_tab("Expression", viser.Icon.MOOD_SMILE):
            self._expression = ExpressionPanel(gui, session)
        with tabs.add_tab("Files", viser.Icon.DOWNLOAD):
            FilesPanel(gui, session)
        self._add_keys()
        client.scene.on_click()(self._click)
        client.scene.on_click(modifier="shift")(self._shift_click)
        self._stage.set_view("3/4")

    def close(self) -> None:
        """Stop everything that runs for this page."""
        self._expression.close()
        self._stage.close()

    def show_moving(self, mesh: Mesh) -> None:
        """Show a mesh that is about to change again."""
        self._stage.hide_hover()
        self._hovered = None
        self._history.show_legend(0.0)
        self._stage.show_moving(mesh)

    def show_still(self, shown: ShownSurface, colors: FloatArray | None, limit_mm: float) -> None:
        """Show the exact surface with the selection on it, or in the colours (V, 3) of a heat map."""
        studio = self._session.studio
        with self._client.atomic():
            chosen = studio.settings.selection
            if colors is None and chosen and self._session.display == "now":
                colors = reach_colors(shown.regions, resolve(chosen), self._colors)
            self._stage.show_still(shown.mesh, shown.normals, colors)
            self._history.show_legend(limit_mm)
            fitted = self._session.fitted.get(studio.document.current.name) if self._session.overlay else None
            self._stage.show_scan(
                None if fitted is None else fitted.points_mm, None if fitted is None else fitted.faces
            )

    def sync(self) -> None:
        """Update the widgets from the state."""
        studio = self._session.studio
        for panel in (self._edit, self._expression, self._heads, self._history):
            panel.sync(studio)

    def show_progress(self, stage: str, part: float | None) -> None:
        """Show how far an upload is, 0 to 1; None when it is over."""
        self._heads.show_progress(stage, part)

    def download(self, name: str, content: bytes) -> None:
        """Send a file to the browser."""
        self._client.send_file_download(name, content, save_immediately=True)

    def show_error(self, sentence: str) -> None:
        """Show an error message for some seconds."""
        notify_error(self._client, sentence)

    def hover(self, x: float, y: float) -> str | None:
        """Highlight the region at a point of the view, from (0, 0) to (1, 1), and return its name, if there is one."""
        shown, region = self._session.shown, None
        if shown is not None and 0.0 <= x <= 1.0 and 0.0 <= y <= 1.0:
            region = shown.picker.region(*self._stage.ray(x, y))
        if region is not self._hovered:
            self._hovered = region
            self._stage.hide_hover()
            if shown is not None and region is not None:
                self._stage.show_hover(shown.regions, region, shown.normals)
        return None if region is None else readable_name(region.name)

    async def _set_view(self, event: viser.GuiEvent[viser.GuiButtonGroupHandle]) -> None:
        self._stage.set_view(VIEWS[VIEWS.index(self._views.value)])

    def _click(self, event: viser.SceneClickEvent) -> None:
        self._select(event, add=False)

    def _shift_click(self, event: viser.SceneClickEvent) -> None:
        self._select(event, add=True)

    def _select(self, event: viser.SceneClickEvent, *, add: bool) -> None:
        try:
            origin_mm, direction = (np.array(ray, dtype=np.float64) for ray in (event.ray_origin, event.ray_direction))
        except (TypeError, ValueError):
            return  # no click of a browser
        if origin_mm.shape != (3,) or direction.shape != (3,):
            return
        region = self._session.pick(origin_mm * SCENE_UNIT_MM, direction)
        if region is not None:
            name = region.name
            self._session.change(lambda studio: studio.select(name, add=add))

    def _add_keys(self) -> None:
        gui, session = self._client.gui, self._session
        undo = gui.add_command("Undo", hotkey="Z", modifier="cmd/ctrl", icon=viser.Icon.ARROW_BACK_UP)
        redo = gui.add_command("Redo", hotkey="Z", modifier="cmd/ctrl+shift", icon=viser.Icon.ARROW_FORWARD_UP)
        compare = gui.add_command("Before and now", hotkey="space")
        undo.on_trigger(lambda _: session.change(Studio.undo))
        redo.on_trigger(lambda _: session.change(Studio.redo))
        compare.on_trigger(lambda _: session.set_display("now" if session.display == "before" else "before"))
        for key, view in zip(("1", "2", "3", "4"), VIEWS):
            self._add_view_key(key, view)

    def _add_view_key(self, key: str, view: View) -> None:
        command = self._client.gui.add_command(f"View: {view}", hotkey=key)  # type: ignore[arg-type]
        command.on_trigger(lambda _: self._stage.set_view(view))
