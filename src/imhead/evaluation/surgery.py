"""Known surgery on virtual patients: is the change found, how exactly, and is nothing found where nothing changed?

Beside it stands what people do by hand: rigid ICP of the whole scan, then the distance to the nearest place.

Shape legend: N places, V vertices of the template.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from imhead.change.amounts import Place
from imhead.change.change import Change
from imhead.change.comparison import ComparedVisit, compare_visits
from imhead.change.config import ChangeConfig
from imhead.checkpoint import Model
from imhead.conventions import FACE_RADIUS_MM
from imhead.errors import InputError
from imhead.evaluation.cases import HeldOutSource
from imhead.evaluation.runner import CaseRunner, Row, rounded
from imhead.evaluation.virtual_scanner import VirtualScan
from imhead.evaluation.virtual_surgery import KINDS, Patient, at_places, patient
from imhead.fitting.start import pose_template
from imhead.measure.on_template import values_on
from imhead.measure.table import measurement
from imhead.surfaces.distances import point_to_surface
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.transforms import matrix_of, transform_directions, transform_points
from imhead.template.topology import load_topology
from imhead.types import FloatArray, Mesh

_CHANGED_MM = 0.05  # a place that truly moved by less is unchanged
_ICP_STEPS, _ICP_POINTS = 40, 8000
_ICP_REACH_MM = (20.0, 3.0)  # of a pair, at the first and the last step
_ICP_START = (0.05, 5.0)  # standard deviations of its start: radians, mm


def surgery_suite(
    model: Model, source: HeldOutSource, heads: int, config: ChangeConfig, runner: CaseRunner, first: int = 0
) -> list[Row]:
    """Rows of patients with a neutral face in both scans, and with a slight expression in the second, which the model
    takes out; for each kind of surgery and for all.

    - `change_error_mm`, `change_rms_mm`: of the change map over the face (95 mm around the nose tip), by area.
    - `icp_error_mm`: of rigid ICP and the nearest distance, from a start near the truth, over the same face.
    - `within_68`, `within_95`: share of the face whose interval holds the truth.
    - `all_within_95`: the same over all that both scans show, back of the head and neck too.
    - `false_alarms`, `all_false_alarms`: share of the unchanged face, of all unchanged skin, called beyond the noise.
    - `false_places`: places said to have changed where the truth moved by less than 0.05 mm, a patient.
    - `found`: share of what moved by more than 1 mm that is called beyond the noise.
    - `volume_ml`, `volume_error_ml`: truth, and mean size of the error, of what the operated surface swept.
    - `volume_within_95`: share of patients whose interval of the face's volume holds the truth.
    - `measured_within_95`: share of the measurements whose interval of the change holds the truth.

    Args:
        model: to fit.
        source: of the held-out heads.
        heads: patients.
        config: settings.
        runner: runs the cases.
        first: number of the first patient.
    """
    cases = surgery_cases(model, source, heads, config, runner, first)
    return [row for slight in (False, True) for row in _rows([c for c in cases if c["expression"] == slight], model)]


def surgery_cases(
    model: Model, source: HeldOutSource, heads: int, config: ChangeConfig, runner: CaseRunner, first: int = 0
) -> list[Row]:
    """Every patient once without and once with an expression; arguments as for `surgery_suite`."""
    pose_template(model)  # made once, before the workers are forked

    def case(k: int) -> Row:
        return surgery_case(model, source, first + k // 2, bool(k % 2), config)

    return runner.run(case, 2 * heads, _shown)


def surgery_case(model: Model, source: HeldOutSource, index: int, expression: bool, config: ChangeConfig) -> Row:
    """One patient, compared: figures against the truth, and the errors of the measurements' changes."""
    case = patient(source, index, expression=expression)
    row: Row = {"name": case.name, "kind": case.kind, "expression": expression}
    scans = [view.scan for view in case.scans]
    try:
        found = compare_visits(
            model, scans, ["before", "after"], config, same_expression=expression, units="mm"
        )  # fmt: skip
    except InputError as error:
        return row | {"refused": str(error)}
    other = found.later[0]
    to_truth = np.linalg.inv(case.scans[0].head_to_scan) @ np.linalg.inv(found.first.scan_to_head)
    row |= change_figures(case, other, to_truth)
    row["same_person"] = bool(other.visit.same_person and found.first.same_person)
    row["icp_error_mm"] = icp_error_mm(case, np.random.default_rng([0x1C9, index]))
    row["measured"] = measured_errors(case, other)
    known = [(row["measured"][k.name], k.within_95) for k in other.measurements if k.within_95 is not None]
    row["measured_within_95"] = float(np.mean([abs(error) < reach for error, reach in known]))
    return row


def change_figures(case: Patient, other: ComparedVisit, to_truth: FloatArray) -> Row:
    """Figures of a change against the truth, whose frame the change enters by (4, 4)."""
    change = other.change
    truth, _ = at_places(case, case.change_mm, transform_points(to_truth, change.before))
    tip = transform_points(np.linalg.inv(to_truth), case.nose_tip_mm[None])[0]
    face = change.compared & (np.linalg.norm(change.before - tip, axis=1) < FACE_RADIUS_MM)
    area = change.area[face] / change.area[face].sum()
    moved, true, sigma = change.moved_mm[face], truth[face], change.sigma_mm[face]
    error = np.abs(moved - true)
    still, operated = np.abs(true) < _CHANGED_MM, np.abs(true) > 1.0
    beyond = change.beyond[face]
    rows = change.compared
    held = np.abs(np.where(rows, change.moved_mm - truth, 0.0)) < change.noise.factor_95 * change.sigma_mm
    unmoved = rows & (np.abs(truth) < _CHANGED_MM)
    row: Row = {
        "change_error_mm": float(area @ error),
        "change_rms_mm": float(np.sqrt(area @ error**2)),
        "within_68": float(area @ (error < sigma)),
        "within_95": float(area @ (error < change.noise.factor_95 * sigma)),
        "sigma_median_mm": float(np.median(sigma)),
        "noise_mm": change.noise.total_mm,
        "false_alarms": float(area[still] @ beyond[still] / area[still].sum()),
        "all_within_95": float(np.average(held[rows], weights=change.area[rows])),
        "all_false_alarms": float(np.average(change.beyond[unmoved], weights=change.area[unmoved])),
        "false_places": float(sum(_is_false(place, change, truth) for place in other.places)),
        "volume_ml": case.swept_ml,
    }
    if operated.any():
        row["found"] = float(area[operated] @ beyond[operated] / area[operated].sum())
    cut = ~still
    row["volume_error_ml"] = float(abs(change.area[face][cut] @ (moved - true)[cut]) / 1000.0)
    if other.whole is not None:
        row["volume_within_95"] = float(
            abs(_swept(change, truth)) < change.noise.factor_95 * other.whole.volume_error_ml
        )
    return row


def _is_false(place: Place, change: Change, truth: FloatArray) -> bool:
    """Whether nothing moved at the middle of a place."""
    near = np.linalg.norm(change.before - np.array(place.middle_mm), axis=1)
    return bool(np.abs(truth[near < near.min() + 2.0]).max() < _CHANGED_MM)


def _swept(change: Change, truth: FloatArray) -> float:
    """What the change of all compared places sweeps beyond the truth, ml."""
    rows = change.compared
    return float(change.area[rows] @ (change.moved_mm - truth)[rows] / 1000.0)


def measured_errors(case: Patient, other: ComparedVisit) -> dict[str, float]:
    """Error of each measurement's change, in its unit."""
    topology = load_topology()
    first, second = (values_on(topology.place(vertices.astype(np.float64))) for vertices in case.registered)
    return {row.name: row.change - (second[row.name] - first[row.name]) for row in other.measurements}


@dataclass(frozen=True, eq=False)
class _Aligned:
    """A scan in the head frame of the truth."""

    mesh: Mesh
    normals: FloatArray


def icp_error_mm(case: Patient, rng: np.random.Generator) -> float:
    """Mean error over the face of rigid ICP and the signed distance to the nearest place, mm: the usual way by hand.

    It starts near the truth, draws pairs closer as it goes, and leaves out the worst; all of the surface takes part.
    """
    before, after = (_placed(view) for view in case.scans)
    start = matrix_of(
        Rotation.from_rotvec(rng.normal(0.0, _ICP_START[0], 3)).as_matrix(), rng.normal(0.0, _ICP_START[1], 3)
    )
    moved = icp(transform_points(start, after.mesh.vertices), before, rng)
    surface = Mesh(moved, after.mesh.faces)
    face = np.linalg.norm(before.mesh.vertices - case.nose_tip_mm, axis=1) < FACE_RADIUS_MM
    points = before.mesh.vertices[face]
    distance, closest, _ = point_to_surface(points, surface)
    sign = np.sign(np.einsum("nc,nc->n", closest - points, before.normals[face]))
    truth, _ = at_places(case, case.change_mm, points)
    near = distance < _ICP_REACH_MM[0]
    return float(np.abs(sign * distance - truth)[near].mean())


def icp(points: FloatArray, goal: _Aligned, rng: np.random.Generator) -> FloatArray:
    """Points (N, 3) after rigid point-to-plane ICP onto a goal."""
    tree = cKDTree(goal.mesh.vertices)
    reaches = np.geomspace(*_ICP_REACH_MM, _ICP_STEPS)
    for reach in reaches:
        rows = rng.permutation(len(points))[:_ICP_POINTS]
        away, near = tree.query(points[rows], distance_upper_bound=reach)
        met = np.isfinite(away)
        place, normal = points[rows][met], goal.normals[near[met]]
        height = np.einsum("nc,nc->n", goal.mesh.vertices[near[met]] - place, normal)
        middle = place.mean(axis=0)
        jacobian = np.concatenate([np.cross(place - middle, normal), normal], axis=1)
        step = np.linalg.lstsq(jacobian, height, rcond=None)[0]
        linear = Rotation.from_rotvec(step[:3]).as_matrix()
        points = (points - middle) @ linear.T + middle + step[3:]
    return points


def _placed(view: VirtualScan) -> _Aligned:
    """A virtual scan in the frame of its head."""
    back = np.linalg.inv(view.head_to_scan)
    assert view.scan.faces is not None  # the scanner of the patients gives meshes
    mesh = Mesh(transform_points(back, view.scan.points), view.scan.faces)
    if view.scan.normals is None:
        return _Aligned(mesh, vertex_normals(mesh.vertices, mesh.faces)[0])
    normals = transform_directions(back, view.scan.normals)
    return _Aligned(mesh, normals / np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-30))


def technical_errors(cases: list[Row]) -> dict[str, float]:
    """The technical error of each measurement: root mean square error of its change, over √2."""
    measured = [case["measured"] for case in cases if "refused" not in case]
    if not measured:
        raise InputError("every patient was refused; nothing was learnt of measurements")
    names = measured[0]
    return {name: float(np.sqrt(0.5 * np.mean([row[name] ** 2 for row in measured]))) for name in names}


def _rows(cases: list[Row], model: Model) -> list[Row]:
    done = [case for case in cases if "refused" not in case]
    rows: list[Row] = []
    for kind in (*KINDS, "all"):
        part = [case for case in done if kind in (case["kind"], "all")]
        if not part:
            continue
        keys = [key for key, value in part[0].items() if isinstance(value, float)] + ["found"]
        row: Row = {
            "suite": "surgery", "model": model.name, "kind": kind, "expression": part[0]["expression"],
            "patients": len(part), "refused": sum("refused" in c for c in cases if kind in (c["kind"], "all")),
        }  # fmt: skip
        for key in dict.fromkeys(keys):
            values = [case[key] for case in part if key in case]
            if values:
                row[key] = float(np.mean(np.abs(values) if key == "volume_ml" else values))
        row["same_person"] = float(np.mean([case["same_person"] for case in part]))
        if kind == "all":
            errors = technical_errors(part)
            row["technical_error"] = {name: round(value, 3) for name, value in errors.items()}
            row["above_1_mm"] = [n for n, value in errors.items() if measurement(n).unit == "mm" and value > 1.0]
            row["cases"] = cases
        rows.append(row)
    return rows


def _shown(case: Row) -> Row:
    return rounded({key: value for key, value in case.items() if key != "measured"})
