"""What `mkdocs.yml` needs beside its plugins: pages of the repository's root, and examples of docstrings as code.

The pages under docs/ are written for a reader of the repository, whose links may leave that folder. On the site, the
root's pages become pages of their own, and any other file that is linked lies under files/, as it is.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from griffe import Docstring, Extension, Object
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
ROOT_PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""Page of the repository's root → page of the site."""
_SOURCES = {page: source for source, page in ROOT_PAGES.items()}
_LINK = re.compile(r"(?<=\]\()([^)#\s:]+)(?=[)#])")


def _source_of(page: str) -> str:
    """Path of a site's page in the repository."""
    return _SOURCES.get(page, f"docs/{page}")


def _target(page: str, link: str) -> str:
    """What a link of a page leads to, as a path in the repository."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(_source_of(page)), link))


def site_path(target: str) -> str:
    """Where a path of the repository lies on the site."""
    if target in ROOT_PAGES:
        return ROOT_PAGES[target]
    place = target.removeprefix("docs/") if target.startswith("docs/") else f"files/{target}"
    return f"{place}/{_index(ROOT / target)}" if (ROOT / target).is_dir() else place


def _index(folder: Path) -> str:
    """The page of a folder: its own, or a list that is made for it."""
    return "README.md" if (folder / "README.md").is_file() else "index.md"


def rewritten(markdown: str, page: str) -> str:
    """A page whose links lead to places of the site."""
    here = posixpath.dirname(page)
    return _LINK.sub(lambda found: posixpath.relpath(site_path(_target(page, found[1])), here or "."), markdown)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the root's pages, the files outside docs/ that are linked, and a list for every folder that is linked."""
    for source, page in ROOT_PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    linked = set()
    for file in list(files.documentation_pages()):
        linked |= {_target(file.src_uri, link) for link in _LINK.findall(file.content_string)}
    for target in sorted(linked):
        path, inside = ROOT / target, target.startswith("docs/")
        if target.startswith("..") or target in ROOT_PAGES or not path.exists():
            continue  # a link that leads nowhere is left for the check of links
        shown = [item for item in sorted(path.iterdir()) if item.is_file()] if path.is_dir() else [path]
        if not inside:
            for item in shown:
                place = f"files/{item.relative_to(ROOT).as_posix()}"
                files.append(File.generated(config, place, abs_src_path=str(item)))
        if path.is_dir() and _index(path) == "index.md":
            rows = "\n".join(f"- [{item.name}]({item.name})" for item in shown)
            files.append(File.generated(config, site_path(target), content=f"# {path.name}\n\n{rows}\n"))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links that leave docs/ lead to places of the site."""
    listed = page.file.generated_by is not None and page.file.src_uri not in _SOURCES
    return markdown if listed else rewritten(markdown, page.file.src_uri)


def fenced(text: str) -> str:
    """A docstring's text whose interactive examples are code blocks: without a fence, >>> is a quotation."""
    lines, out, inside = text.splitlines(), [], False
    for line in lines:
        if not inside and line.startswith(">>>"):
            out += ["", "```pycon"]
            inside = True
        elif inside and not line.strip():
            out.append("```")
            inside = False
        out.append(line)
    return "\n".join([*out, "```"] if inside else out)


class DoctestBlocks(Extension):  # type: ignore[misc]
    """Fences the examples of every docstring."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Called by griffe with each module, class, function and attribute that it has read."""
        if obj.docstring is not None and ">>>" in obj.docstring.value:
            found = obj.docstring
            obj.docstring = Docstring(
                fenced(found.value), lineno=found.lineno, parent=obj, parser=found.parser,
                parser_options=found.parser_options,
            )  # fmt: skip
