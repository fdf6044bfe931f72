"""The package is a stack: a module imports from the lines above its own, never from below or beside it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "imhead"

# One line for each layer, the foundation first. A name is a module or a folder of src/imhead.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "version"),
    ("conventions", "regions", "types", "parallel"),
    ("surfaces",),
    ("io",),
    ("sources",),
    ("datasets",),
    ("model",),
    ("checkpoint",),
    ("isosurface",),
    ("template", "encoding"),
    ("measure",),
    ("rendering",),
    ("training",),
    ("fitting", "editing"),
    ("registration", "tracking"),
    ("avatar", "change", "cohort", "topology"),
    ("reports",),
    ("curation",),
    ("evaluation",),
    ("benchmark",),
    ("api",),
    ("imhead",),  # the package's own __init__: the Python verbs
    ("serving",),
    ("studio",),
    ("cli",),
    ("__main__",),
)

# Meshes, files and pictures know surfaces, not networks or codes.
SURFACES_ONLY: dict[str, frozenset[str]] = {
    "surfaces": frozenset({"errors", "conventions", "types"}),
    "io": frozenset({"errors", "conventions", "types", "surfaces"}),
    "rendering": frozenset({"errors", "conventions", "regions", "types", "parallel", "surfaces"}),
}

# Rooms within a room, the foundation first: the same rule holds between them.
INNER_LAYERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "studio": (("state",), ("session",), ("web",)),
}

EMPTY_NAMES = frozenset({"utils", "util", "helpers", "helper", "misc", "manager", "common"})
TEXT_SUFFIXES = frozenset({"", ".py", ".md", ".toml", ".txt", ".cfg", ".ini", ".yml", ".yaml", ".json", ".html"})
# what running, building and testing leave behind is not part of the project
LEFT_BEHIND = frozenset({"out", "runs", "data", "build", "dist", "__pycache__"})
HIDDEN_BUT_OURS = frozenset({".ci", ".github", ".gitignore"})
# a slash, the first folder of someone's machine, and something in it; not the middle of a URL or a relative path
MACHINE_PATH = re.compile(r"(?<![\w.:/$}~-])/(?:work|home|root|Users)/\w")


def module_name(path: Path) -> str:
    parts = ("imhead", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}


def layer_name(module: str) -> str:
    """The line of the table that a module belongs to: imhead.isosurface.field → isosurface."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "imhead"


def imported(module: str) -> set[str]:
    """Modules of the package that a module imports, at its top or anywhere inside."""
    path = MODULES[module]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in MODULES}
        elif isinstance(node, ast.ImportFrom):
            package = module if path.name == "__init__.py" else module.rpartition(".")[0]
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                found |= {full} if full in MODULES else {base} & set(MODULES)
    return found - {module}


IMPORTS = {module: imported(module) for module in MODULES}
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def test_every_module_has_its_line_in_the_table_of_layers() -> None:
    missing = sorted(module for module in MODULES if layer_name(module) not in RANK)
    assert not missing, f"add to LAYERS, and to docs/architecture.md: {missing}"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_from_the_lines_above_its_own(module: str) -> None:
    own = layer_name(module)
    wrong = sorted(
        other for other in IMPORTS[module] if layer_name(other) != own and RANK[layer_name(other)] >= RANK[own]
    )
    assert not wrong, f"{module} imports {wrong}: not below it"


@pytest.mark.parametrize("room", sorted(INNER_LAYERS))
def test_a_room_within_a_room_imports_only_from_those_above_it(room: str) -> None:
    rank = {name: k for k, names in enumerate(INNER_LAYERS[room]) for name in names}

    def inner(module: str) -> str | None:
        parts = module.split(".")
        return parts[2] if len(parts) > 2 and parts[1] == room else None

    within = {module: inner(module) for module in MODULES if layer_name(module) == room and inner(module)}
    assert set(within.values()) == set(rank), f"add to INNER_LAYERS: {sorted(set(within.values()) ^ set(rank))}"
    wrong = [
        (module, other)
        for module, own in within.items()
        for other in IMPORTS[module]
        if other in within and within[other] != own and rank[within[other]] >= rank[own]
    ]
    assert not wrong


@pytest.mark.parametrize("name", sorted(SURFACES_ONLY))
def test_pictures_and_files_know_surfaces_only(name: str) -> None:
    used = {layer_name(other) for module in MODULES if layer_name(module) == name for other in IMPORTS[module]}
    assert used - {name} <= SURFACES_ONLY[name]


def test_nothing_imports_the_command_line() -> None:
    of_cli = {module for module in MODULES if layer_name(module) == "cli"}
    guilty = {module for module, others in IMPORTS.items() if others & of_cli} - of_cli
    assert guilty <= {"imhead.__main__"}


def test_no_two_modules_import_each_other_in_a_ring() -> None:
    done: set[str] = set()

    def walk(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " → ".join((*trail[trail.index(module) :], module))
        if module not in done:
            for other in sorted(IMPORTS[module]):
                walk(other, (*trail, module))
            done.add(module)

    for module in MODULES:
        walk(module, ())


def test_no_module_has_a_name_that_says_nothing() -> None:
    named = {part for module in MODULES for part in re.split(r"[._]", module)}
    assert not named & EMPTY_NAMES


def project_texts() -> list[Path]:
    texts: list[Path] = []
    pending = [ROOT]
    while pending:
        for path in sorted(pending.pop().iterdir()):
            hidden = path.name.startswith(".") and path.name not in HIDDEN_BUT_OURS
            if hidden or path.is_symlink() or path.name in LEFT_BEHIND or path.name.endswith(".egg-info"):
                continue
            if path.is_dir():
                pending.append(path)
            elif path.suffix in TEXT_SUFFIXES:
                texts.append(path)
    return texts


def test_no_file_of_the_project_names_a_path_of_one_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in project_texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]
    assert not found
