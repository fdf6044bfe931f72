"""One page in a browser: the view, the panels around it, and keys. It only shows a session and passes wishes on."""

from __future__ import annotations

import numpy as np
import viser

from imhead.regions import Region, resolve
from imhead.studio.session.tab_session import Shown, TabSession
from imhead.studio.session.uploads import MAX_UPLOAD_BYTES, too_large
from imhead.studio.state.commands import plain
from imhead.studio.state.studio import Studio
from imhead.studio.web.panels.edit import EditPanel
from imhead.studio.web.panels.expression import ExpressionPanel
from imhead.studio.web.panels.files import FilesPanel
from imhead.studio.web.panels.heads import HeadsPanel
from imhead.studio.web.panels.history import HistoryPanel
from imhead.studio.web.stage import SCENE_UNIT_MM, VIEWS, Stage, View, plain_colors, reach_colors
from imhead.studio.web.transfer import bound_uploads
from imhead.template.surface import template_of
from imhead.template.topology import LEFT_EYE
from imhead.types import FloatArray, Mesh


class StudioPage:
    """The page of one client."""

    def __init__(self, client: viser.ClientHandle, session: TabSession) -> None:
        self._client, self._session = client, session
        template = template_of(session.model)
        eyes = template.part >= LEFT_EYE
        self._plain, self._stage = plain_colors(eyes), Stage(client, template.faces, eyes)
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
        self._views.on_click(self._turn)
        tabs = gui.add_tab_group()
        with tabs.add_tab("Edit", viser.Icon.ADJUSTMENTS):
            self._edit = EditPanel(gui, session)
        with tabs.add_tab("Expression", viser.Icon.MOOD_SMILE):
            self._expression = ExpressionPanel(gui, session)
        with tabs.add_tab("Files", viser.Icon.DOWNLOAD):
            FilesPanel(gui, session)
        bound_uploads(client, MAX_UPLOAD_BYTES, lambda name, size: self.tell(str(too_large(name, size)), error=True))
        self._add_keys()
        client.scene.on_click()(self._click)
        client.scene.on_click(modifier="shift")(self._shift_click)
        self._stage.look("3/4")

    def close(self) -> None:
        """Stop what runs for this page."""
        self._expression.close()
        self._stage.close()

    def show(self, mesh: Mesh) -> None:
        """Show a mesh that will change again in a moment."""
        self._stage.hide_hover()
        self._hovered = None
        self._history.show_legend(0.0)
        self._stage.show(mesh)

    def show_whole(self, shown: Shown, colors: FloatArray | None, limit_mm: float) -> None:
        """Show a mesh with what is selected on it, or in the colours of a heat map."""
        studio = self._session.studio
        with self._client.atomic():
            chosen = studio.settings.selection
            if colors is None and chosen and self._session.comparison == "after":
                colors = reach_colors(shown.regions, resolve(chosen), self._plain)
            self._stage.show_still(shown.mesh, shown.normals, colors)
            self._history.show_legend(limit_mm)
            fitted = self._session.fitted.get(studio.document.current.name) if self._session.overlay else None
            self._stage.show_scan(
                None if fitted is None else fitted.points_mm, None if fitted is None else fitted.faces
            )

    def sync(self) -> None:
        """Make the widgets say what the state says."""
        studio = self._session.studio
        for panel in (self._edit, self._expression, self._heads, self._history):
            panel.sync(studio)

    def progress(self, stage: str, part: float | None) -> None:
        """Tell how far a fit is; None when it is over."""
        self._heads.progress(stage, part)

    def download(self, name: str, content: bytes) -> None:
        """Hand a file to the browser."""
        self._client.send_file_download(name, content, save_immediately=True)

    def tell(self, sentence: str, *, error: bool = False) -> None:
        """Say something to the person."""
        title = "That did not work" if error else "imhead studio"
        self._client.add_notification(
            title, sentence, auto_close_seconds=12.0, color="red" if error else "blue", with_close_button=True
        )

    def point(self, x: float, y: float) -> str | None:
        """Light up the region at a place of the view, and name it; off the view there is none."""
        shown, region = self._session.shown, None
        if shown is not None and 0.0 <= x <= 1.0 and 0.0 <= y <= 1.0:
            region = shown.picker.region(*self._stage.ray(x, y))
        if region is not self._hovered:
            self._hovered = region
            self._stage.hide_hover()
            if shown is not None and region is not None:
                self._stage.show_hover(shown.regions, region, shown.normals)
        return None if region is None else plain(region.name)

    async def _turn(self, event: viser.GuiEvent[viser.GuiButtonGroupHandle]) -> None:
        self._stage.look(VIEWS[VIEWS.index(self._views.value)])

    def _click(self, event: viser.SceneClickEvent) -> None:
        self._select(event, add=False)

    def _shift_click(self, event: viser.SceneClickEvent) -> None:
        self._select(event, add=True)

    def _select(self, event: viser.SceneClickEvent, *, add: bool) -> None:
        origin_mm = np.asarray(event.ray_origin) * SCENE_UNIT_MM
        region = self._session.pick(origin_mm, np.asarray(event.ray_direction))
        if region is not None:
            name = region.name
            self._session.change(lambda studio: studio.select(name, add=add))

    def _add_keys(self) -> None:
        gui, session = self._client.gui, self._session
        undo = gui.add_command("Undo", hotkey="Z", modifier="cmd/ctrl", icon=viser.Icon.ARROW_BACK_UP)
        redo = gui.add_command("Redo", hotkey="Z", modifier="cmd/ctrl+shift", icon=viser.Icon.ARROW_FORWARD_UP)
        compare = gui.add_command("Before and after", hotkey="space")
        undo.on_trigger(lambda _: session.change(Studio.undo))
        redo.on_trigger(lambda _: session.change(Studio.redo))
        compare.on_trigger(lambda _: session.compare("after" if session.comparison == "before" else "before"))
        for key, view in zip(("1", "2", "3", "4"), VIEWS):
            self._add_view_key(key, view)

    def _add_view_key(self, key: str, view: View) -> None:
        command = self._client.gui.add_command(f"View: {view}", hotkey=key)  # type: ignore[arg-type]
        command.on_trigger(lambda _: self._stage.look(view))
