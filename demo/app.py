"""A page on which a scan becomes a head whose nose can be changed. It runs as a Space of the Hugging Face hub.

    pip install -r demo/requirements.txt
    python demo/app.py            # --port 7860

On your own machine the studio shows more: imhead studio.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from importlib import resources
from pathlib import Path

import gradio as gr
from PIL import Image

import imhead
from imhead.editing.words import WORDS
from imhead.regions import groups
from imhead.rendering.figures import contact_sheet
from imhead.rendering.shading import shade

DEMO_SCAN = Path(str(resources.files("imhead") / "assets" / "demo_scan.ply"))
MODEL = imhead.load(device="cpu")
SETTINGS = imhead.FitConfig(resolution=160)
KEPT_S = 3600  # after an hour uploads and heads are gone
HEADS = Path(tempfile.mkdtemp(prefix="imhead-demo-"))


def fitted(scan: str | None) -> tuple[imhead.EditableHead, Image.Image, str]:
    """A scan's head, its picture, and how well it explains the scan."""
    if not scan:
        raise gr.Error("give a scan first, or press an example")
    try:
        head = MODEL.fit(scan, config=SETTINGS)
    except imhead.InputError as error:
        raise gr.Error(str(error)) from error
    report = head.report()
    median, share = report["scan_to_head_mm"]["median"], report["explained_fraction"]
    close = "the head explains nothing of the scan" if median is None else f"median {median:.2f} mm"
    told = [f"{close}, over {100 * share:.0f} % of the scan", *report["warnings"]]
    return imhead.EditableHead(head.codes, head.model), drawn([head]), "\n\n".join(told)


def edited(head: imhead.EditableHead | None, choice: str, strength: float) -> tuple[Image.Image, str]:
    """The head before and after an edit, and the file of the new one."""
    if head is None:
        raise gr.Error("fit a scan first")
    region, word = choice.split(": ")
    try:
        changed = head.along(region, word, strength)
    except imhead.InputError as error:
        raise gr.Error(str(error)) from error
    path = Path(tempfile.mkdtemp(dir=HEADS)) / "head.glb"
    changed.export(path, imhead.ExportConfig(surface="template"))
    forget_old()
    return drawn([head, changed]), str(path)


def forget_old() -> None:
    """Remove heads that were written an hour ago or earlier."""
    for folder in HEADS.iterdir():
        if folder.stat().st_mtime < time.time() - KEPT_S:
            shutil.rmtree(folder, ignore_errors=True)


def drawn(heads: list[imhead.EditableHead]) -> Image.Image:
    """Heads from the front and from three quarters."""
    meshes = [head.mesh({}, surface="template") for head in heads]
    return contact_sheet([shade(mesh, view, 320) for mesh in meshes for view in ("front", "three_quarter")], columns=2)


def page() -> gr.Blocks:
    """The page."""
    choices = [f"{group}: {word}" for group in groups() if group in WORDS for word in WORDS[group]]
    with gr.Blocks(title="imhead", delete_cache=(KEPT_S, KEPT_S)) as blocks:
        gr.Markdown("# imhead\nFit a scan, change one region, take the head along.")
        head = gr.State(None)
        with gr.Row():
            scan = gr.File(label="Scan: .ply, .obj, .stl, .glb …", type="filepath")
            picture = gr.Image(label="The head", type="pil")
        told = gr.Markdown()
        gr.Examples([[str(DEMO_SCAN)]], inputs=[scan], cache_examples=False)
        fit = gr.Button("Fit", variant="primary")
        fit.click(fitted, [scan], [head, picture, told], concurrency_limit=1, api_name="fit")
        with gr.Row():
            choice = gr.Dropdown(choices, value="nose: wider", label="What changes")
            strength = gr.Slider(-3.0, 3.0, value=1.5, step=0.1, label="Standard deviations")
            file = gr.File(label="The new head, with 52 expressions")
        change = gr.Button("Change")
        change.click(edited, [head, choice, strength], [picture, file], concurrency_limit=1, api_name="edit")
        gr.Markdown("Codes and meshes come from a model of heads, without hair. No medical device.")
    return blocks


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=7860)
    # without a name of its own it listens on this machine only; a Space names one by GRADIO_SERVER_NAME
    page().launch(server_port=parser.parse_args().port, max_file_size="100mb")
