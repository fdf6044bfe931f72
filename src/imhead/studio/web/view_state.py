"""What the panels of a page show, as JSON: the heads, the selection, its sliders and measurements, and the steps."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from imhead.conventions import ARKIT_NAMES, ASSUMED_SCALE
from imhead.editing import readings_of, shapes_of
from imhead.editing.words import OPPOSITES
from imhead.io.skin_files import lost_skin
from imhead.measure.table import MEASUREMENTS, Measurement
from imhead.regions import REGIONS, groups, resolve
from imhead.studio.session.page_protocol import FittedScan
from imhead.studio.session.scans import ScanChange
from imhead.studio.session.tab_session import TabSession
from imhead.studio.session.takes import NamedTake
from imhead.studio.state.commands.edits import MOST_SIGMA, face_measurements
from imhead.studio.state.commands.expression import clipped_arkit_weights
from imhead.studio.state.labels import readable_name, regions_label
from imhead.studio.state.studio import Studio
from imhead.studio.web.played import face_key
from imhead.types import Head

_SHAPE_SLIDERS, _MOST_SLIDERS = 6, 9  # shapes, and both kinds together: more do not fit a small window
_MOST_STEPS = 400
_MOST_PLACES = 8
_measured = lru_cache(maxsize=8)(face_measurements)  # the head before seldom changes
_OPPOSITE_OF = {word: opposite for opposite, word in OPPOSITES.items()}


def view_state(session: TabSession) -> dict[str, Any]:
    """All that the panels show now."""
    studio = session.studio
    chosen, locked = studio.settings.selection, studio.settings.locked
    free = tuple(name for name in chosen if name not in locked)
    document, history = studio.document, studio.history
    head = studio.head
    line = history.line()
    return {
        "heads": [
            {"name": named.name, "key": _key(named.origin), "scan": named.origin in session.fitted}
            for named in document.heads
        ],
        "active": document.active,
        "selection": list(chosen),
        "title": regions_label(chosen) if chosen else "",
        "symmetric": studio.settings.symmetric,
        "locked": sorted(locked),
        "free": len(free),
        "sliders": _sliders(studio, free),
        "note": document.note,
        "measurements": _measurements(studio, chosen),
        "scale_note": ASSUMED_SCALE if head.scale_assumed else "",
        "steps": _steps(studio),
        "line": list(line),
        "at": history.at,
        "can_undo": history.steps[history.at].parent is not None,
        "can_redo": line[-1] != history.at,
        "expression": dict(zip(ARKIT_NAMES, np.round(clipped_arkit_weights(studio.model, head), 2).tolist())),
        "display": session.display,
        "scan": None if session.scan is None else _scan(session.scan),
        "other": None if session.other is None else session.other.name,
        "other_skin": skin_key(studio.head if session.other is None else session.other.codes),
        "change": None if session.scan_change is None else _change(session.scan_change, session.beyond),
        "take": None if session.take is None else _take(session.take),
        "face": face_key(head),
        "overlay": session.overlay,
        "skin": skin_key(head),
        "skin_note": lost_skin(head.lost_skin) if head.lost_skin else "",
    }


def skin_key(head: Head) -> str:
    """Names the picture of a head's skin: that of its own colours, or `painted`."""
    return "painted" if head.skin is None else head.skin.digest


def page_constants() -> dict[str, Any]:
    """What the panels need once: regions and groups, and how the ARKit shapes are called."""
    return {
        "regions": [{"name": region.name, "label": readable_name(region.name)} for region in REGIONS],
        "groups": {name: list(members) for name, members in groups().items()},
        "shapes": list(ARKIT_NAMES),
        "most_sigma": MOST_SIGMA,
    }


def _key(head: object) -> str:
    """Tells heads of one session apart, whatever they are called."""
    return f"{id(head):x}"


def _sliders(studio: Studio, free: tuple[str, ...]) -> list[dict[str, Any]]:
    if not free:
        return []
    regions, mirror = resolve(free), studio.settings.symmetric
    readings = readings_of(studio.model, studio.head, regions, mirror)
    found: list[dict[str, Any]] = [
        {"kind": "word", "key": word, "label": word, "low": _OPPOSITE_OF[word], "value": _clipped(value)}
        for word, value in readings.items()
    ]
    shapes = shapes_of(studio.model, regions, mirror)
    scores = shapes.scores(studio.head)
    for k in range(min(len(scores), _SHAPE_SLIDERS, _MOST_SLIDERS - len(readings))):
        share = f"{100 * shapes.shares[k]:.0f} %"
        value = _clipped(float(scores[k]))
        found.append({"kind": "shape", "key": k, "label": f"shape {k + 1}", "share": share, "value": value})
    return found


def _clipped(sigma: float) -> float:
    return round(min(max(sigma, -MOST_SIGMA), MOST_SIGMA), 2)


def _measurements(studio: Studio, chosen: tuple[str, ...]) -> list[dict[str, Any]]:
    """All of them, those of the selection first."""
    values, before = _measured(studio.model, studio.head), _measured(studio.model, studio.before)
    own = {name for name, members in groups().items() if set(chosen) & set(members)}

    def line(kind: Measurement) -> dict[str, Any]:
        return {
            "name": kind.name, "label": readable_name(kind.name), "unit": "°" if kind.unit == "degrees" else kind.unit,
            "value": round(values[kind.name], 1), "before": round(before[kind.name], 1), "definition": kind.definition,
            "own": kind.group in own,
        }  # fmt: skip

    kinds = [kind for kind in MEASUREMENTS if kind.unit != "ml"]
    return sorted((line(kind) for kind in kinds), key=lambda item: not item["own"])


def _steps(studio: Studio) -> list[dict[str, Any]]:
    """The newest ones of all branches, and all of the shown one."""
    history = studio.history
    steps = history.steps
    numbers = {*range(max(0, len(steps) - _MOST_STEPS), len(steps)), *history.line()[-_MOST_STEPS:], history.at}
    return [
        {"number": k, "parent": steps[k].parent, "label": steps[k].label, "named": steps[k].named,
         "head": steps[k].document.current.name}
        for k in sorted(numbers)
    ]  # fmt: skip


def _scan(scan: FittedScan) -> dict[str, Any]:
    return {
        "median_mm": round(scan.median_mm, 2) if np.isfinite(scan.median_mm) else None,
        "explained": round(100 * scan.explained),
        "warnings": list(scan.warnings),
        "mesh": scan.scan.faces is not None and len(scan.scan.faces) > 0,
    }


def _take(take: NamedTake) -> dict[str, Any]:
    seconds = take.take.seconds
    return {
        "name": take.name, "frames": len(seconds), "seconds": round(float(seconds[-1]), 2),
        "warnings": list(take.take.warnings),
    }  # fmt: skip


def _change(change: ScanChange, beyond: bool) -> dict[str, Any]:
    return {
        "before": change.names[0], "after": change.names[1], "noise_mm": round(change.noise_mm, 2),
        "beyond_percent": round(100 * change.beyond_share), "beyond": beyond, "warnings": list(change.warnings),
        "places": [
            {"region": readable_name(region), "mean_mm": round(mean, 2), "error_mm": round(error, 2),
             "volume_ml": round(volume, 2)}
            for region, mean, error, volume in change.places[:_MOST_PLACES]
        ],
    }  # fmt: skip
