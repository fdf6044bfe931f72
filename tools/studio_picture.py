"""Take the picture of the studio that the README shows: a fitted head, its nose selected.

    python tools/studio_picture.py docs/images/studio.png

Needs the extras imhead[studio,browser] and a Chromium (apt-get install chromium).
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

import imhead
from imhead.studio.web.server import StudioConfig, start

FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
PATIENCE_S = 300.0
DEMO_SCAN = Path(imhead.__file__).parent / "assets" / "demo_scan.ply"


def main(out: Path) -> None:
    """Open the studio on the scan that ships, select its nose, and save a screenshot."""
    server = start(imhead.load().model, StudioConfig(port=0))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 860})
        page.set_default_timeout(PATIENCE_S * 1000)
        page.goto(server.address)
        while not server.sessions():
            page.wait_for_timeout(100)
        (session,) = server.sessions().values()
        session.wait(PATIENCE_S)
        session.upload(DEMO_SCAN.name, DEMO_SCAN.read_bytes())
        while DEMO_SCAN.stem not in session.studio.document.current.name:
            page.wait_for_timeout(200)
            if page.get_by_role("alert").count():
                raise SystemExit(page.get_by_role("alert").inner_text())
        session.set_overlay(False)
        session.change(lambda state: state.select("nose"))
        session.wait(PATIENCE_S)
        page.get_by_role("tab", name="History").click()
        page.wait_for_timeout(8000)
        page.screenshot(path=out)
        browser.close()
    server.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
