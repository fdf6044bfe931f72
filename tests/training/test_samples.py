"""Training samples: true distances to the union of skin and eyes, and correspondences that turn with the surface."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from imhead.conventions import ARKIT_NAMES, BOUNDS_MAX_MM, BOUNDS_MIN_MM
from imhead.regions import CENTERS_MM, RADII_MM, REGIONS
from imhead.sources.ict import IctModel, boundary_loops
from imhead.surfaces.solid import Solid
from imhead.training.samples import Samples, carried_with_faces, face_density, head_samples, sampling_density

SKIN_MM = 60.0
EYE_MM = 12.0
EYE_CENTERS = np.array([[25.0, 20.0, 46.0], [-25.0, 20.0, 46.0]])
"""56 mm from the middle of the skin: the eyes poke out by 8 mm."""


def _ball(radius_mm: float, center: np.ndarray, detail: int) -> trimesh.Trimesh:
    ball = trimesh.creation.icosphere(subdivisions=detail, radius=radius_mm)
    return trimesh.Trimesh(ball.vertices + center, ball.faces, process=False)


@pytest.fixture(scope="module")
def balls() -> IctModel:
    """A source whose skin is a ball and whose eyes are two small balls that poke out of it."""
    skin = _ball(SKIN_MM, np.zeros(3), 6)
    left, right = (_ball(EYE_MM, center, 5) for center in EYE_CENTERS)
    vertices = np.concatenate([skin.vertices, left.vertices, right.vertices])
    first = len(skin.vertices)
    eyes = np.concatenate([left.faces + first, right.faces + first + len(left.vertices)])
    empty = np.zeros((0, len(vertices), 3), dtype=np.float32)
    return IctModel(
        mean=vertices.astype(np.float32), identity=empty, expressions=np.zeros((52, len(vertices), 3), np.float32),
        skin_faces=skin.faces, skin_open_faces=skin.faces, eye_faces=eyes, mirror=np.arange(len(vertices)),
    )  # fmt: skip


def analytic(points: np.ndarray) -> np.ndarray:
    skin = np.linalg.norm(points, axis=1) - SKIN_MM
    eyes = [np.linalg.norm(points - center, axis=1) - EYE_MM for center in EYE_CENTERS]
    return np.minimum.reduce([skin, *eyes])


@pytest.fixture(scope="module")
def drawn(balls: IctModel) -> Samples:
    return head_samples(balls, face_density(balls), balls.mean, balls.mean, 6000, np.random.default_rng(0))


def near_eyes_or_skin(points: np.ndarray) -> np.ndarray:
    """Points for which eyes are looked at, or need not be: farther from the eyes the skin is taken to be the nearer."""
    skin = np.linalg.norm(points, axis=1) - SKIN_MM
    near = np.linalg.norm(points[:, None] - EYE_CENTERS, axis=2).min(axis=1) < 30.0
    truth: np.ndarray = near | (skin <= analytic(points))
    return truth


def test_distances_are_those_to_the_union_of_skin_and_eyes(drawn: Samples) -> None:
    looked_at = near_eyes_or_skin(drawn.points)
    assert looked_at.mean() > 0.98
    looked_at &= ~drawn.bound
    np.testing.assert_allclose(drawn.distance[looked_at], analytic(drawn.points)[looked_at], atol=1e-2)
    assert (drawn.distance < -1.0).sum() > 100 and (drawn.distance > 1.0).sum() > 100


def test_signs_are_negative_inside_and_positive_outside(drawn: Samples) -> None:
    truth = analytic(drawn.points)
    clear = (np.abs(truth) > 0.02) & ~drawn.bound
    np.testing.assert_array_equal(np.sign(drawn.distance[clear]), np.sign(truth[clear]))


def test_half_of_the_samples_lie_on_the_surface(drawn: Samples) -> None:
    assert not drawn.distance[:3000].any()
    np.testing.assert_allclose(analytic(drawn.points[:3000]), 0.0, atol=1e-2)
    assert (drawn.distance[3000:] != 0).all()


def test_surface_hidden_inside_the_other_solid_is_never_sampled(balls: IctModel, drawn: Samples) -> None:
    surface = drawn.points[:3000]
    skin = np.linalg.norm(surface, axis=1)
    for center in EYE_CENTERS:
        assert np.linalg.norm(surface - center, axis=1).min() > EYE_MM - 0.02
        on_eye = np.linalg.norm(surface - center, axis=1) < EYE_MM + 0.02
        assert on_eye.sum() > 20
        assert skin[on_eye].min() > SKIN_MM - 0.02


def test_normals_are_unit_gradients_of_the_distance(drawn: Samples) -> None:
    step = 1e-3
    numeric = np.stack(
        [(analytic(drawn.points + step * e) - analytic(drawn.points - step * e)) / (2 * step) for e in np.eye(3)],
        axis=1,
    )
    smooth = np.abs(np.linalg.norm(numeric, axis=1) - 1.0) < 1e-3  # not where two solids are equally near
    clear = (
        ~drawn.bound
        & smooth
        & near_eyes_or_skin(drawn.points)
        & ((np.abs(drawn.distance) > 0.5) | (drawn.distance == 0))
    )
    assert clear.mean() > 0.7
    cosine = (drawn.normal[clear] * numeric[clear]).sum(axis=1)
    assert cosine.min() > 0.99
    np.testing.assert_allclose(np.linalg.norm(drawn.normal[clear], axis=1), 1.0, atol=1e-6)


def test_at_rest_every_sample_is_its_own_target(drawn: Samples) -> None:
    np.testing.assert_allclose(drawn.target, drawn.points, atol=1e-6)


def test_a_turned_head_carries_its_samples_home(balls: IctModel) -> None:
    turn = Rotation.from_euler("xyz", [0.0, 0.0, 7.0], degrees=True)
    shift = np.array([3.0, -2.0, 5.0])
    rest = balls.mean.astype(np.float64)
    posed = turn.apply(rest) + shift
    samples = head_samples(balls, face_density(balls), posed, rest, 1000, np.random.default_rng(1))
    np.testing.assert_allclose(samples.target, turn.inv().apply(samples.points - shift), atol=1e-5)


def two_plates(gap_mm: float) -> IctModel:
    """Two flat boxes face to face, the lips of a mouth that is `gap_mm` open, and eyes elsewhere."""
    skins = [trimesh.creation.box([40.0, 10.0, 40.0]).subdivide_to_size(4.0) for _ in range(2)]
    for skin, side in zip(skins, (-1.0, 1.0)):
        skin.apply_translation([0.0, side * (5.0 + 0.5 * gap_mm), 0.0])
    eyes = [_ball(3.0, np.array([x, 80.0, 0.0]), 2) for x in (-15.0, 15.0)]
    vertices = np.concatenate([part.vertices for part in (*skins, *eyes)])
    first = np.cumsum([0] + [len(part.vertices) for part in (*skins, *eyes)])
    faces = [part.faces + start for part, start in zip((*skins, *eyes), first)]
    empty = np.zeros((0, len(vertices), 3), dtype=np.float32)
    return IctModel(
        mean=vertices.astype(np.float32), identity=empty, expressions=np.zeros((52, len(vertices), 3), np.float32),
        skin_faces=np.concatenate(faces[:2]), skin_open_faces=np.concatenate(faces[:2]),
        eye_faces=np.concatenate(faces[2:]), mirror=np.arange(len(vertices)),
    )  # fmt: skip


@pytest.mark.parametrize(("gap_mm", "shut"), [(0.6, True), (1.2, True), (2.0, False), (6.0, False)])
def test_a_gap_that_no_scanner_resolves_is_shut_and_a_wider_one_is_open(gap_mm: float, shut: bool) -> None:
    plates = two_plates(gap_mm)
    drawn = head_samples(plates, face_density(plates), plates.mean, plates.mean, 8000, np.random.default_rng(0))
    between = (np.abs(drawn.points) < [17.0, 0.5 * gap_mm + 1e-4, 17.0]).all(axis=1)
    on_surface = between[:4000] & (drawn.distance[:4000] == 0)
    if shut:
        assert not on_surface.any()
        assert between.sum() > 100 and drawn.bound[between].all() and drawn.distance[between].max() < -0.1
        assert not drawn.normal[drawn.bound].any()
    else:
        assert on_surface.sum() > 100
        assert not drawn.bound[between].any() and drawn.distance[between].min() >= 0


def test_the_shut_lips_of_a_real_neutral_head_are_held_to_lie_inside(ict: IctModel) -> None:
    canonical = ict.mean + ict.canonical_offset
    neutral, open_mouth = (
        head_samples(ict, face_density(ict), posed, canonical, 8000, np.random.default_rng(0))
        for posed in (ict.mean, canonical)
    )
    lips = [r.index for r in REGIONS if r.name in ("upper_lip", "lower_lip")]

    def at_lips(drawn: Samples) -> int:
        near = np.linalg.norm(drawn.points[:, None] - CENTERS_MM[lips], axis=2) < 0.5 * RADII_MM[lips]
        return int((near.any(axis=1) & drawn.bound).sum())

    assert at_lips(neutral) > 20
    assert at_lips(open_mouth) == 0


def test_an_open_mouth_is_sampled_between_its_lips_and_not_only_near_them(ict: IctModel) -> None:
    weights = np.zeros(52)
    weights[ARKIT_NAMES.index("jawOpen")] = 0.8
    canonical, posed = ict.mean + ict.canonical_offset, ict.mean + ict.expression_offsets(weights)

    def within(drawn: Samples) -> int:
        # the mouth of this pose is open from y = -70 to -40 mm
        inside = (np.abs(drawn.points - [0.0, -54.0, 95.0]) < [15.0, 12.0, 10.0]).all(axis=1)
        return int((inside & (drawn.distance > 4.0)).sum())

    rng = np.random.default_rng(0)
    assert within(head_samples(ict, face_density(ict), posed, canonical, 3000, rng)) > 30
    # a pose that moves nothing gets none of them
    assert within(head_samples(ict, face_density(ict), posed, posed, 3000, rng)) < 10


def test_samples_stay_near_the_head_except_a_few_anywhere_in_the_bounds(drawn: Samples) -> None:
    assert np.percentile(np.abs(drawn.distance), 90) < 25.0
    assert ((drawn.points > BOUNDS_MIN_MM) & (drawn.points < BOUNDS_MAX_MM)).all(axis=1).mean() > 0.99
    assert np.abs(drawn.distance).max() > 50.0


def test_the_same_seed_draws_the_same_samples(balls: IctModel) -> None:
    first, again = (
        head_samples(balls, face_density(balls), balls.mean, balls.mean, 200, np.random.default_rng(4))
        for _ in range(2)
    )
    for name in ("points", "distance", "normal", "target", "bound"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31))
def test_points_are_carried_exactly_by_a_rigid_motion(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source = 30.0 * rng.normal(size=(30, 3))
    corners = rng.permutation(30).reshape(10, 3)
    bary = rng.dirichlet(np.ones(3), size=10)
    nearest = np.einsum("nk,nkc->nc", bary, source[corners])
    points = nearest + 10.0 * rng.normal(size=(10, 3))
    turn, shift = Rotation.random(rng=rng), 50.0 * rng.normal(size=3)
    moved = carried_with_faces(source, turn.apply(source) + shift, corners, nearest, points)
    np.testing.assert_allclose(moved, turn.apply(points) + shift, atol=1e-6)


def test_a_carried_surface_point_stays_in_its_triangle_when_that_stretches() -> None:
    source = np.array([[0.0, 0.0, 0.0], [10.0, 0.0, 0.0], [0.0, 10.0, 0.0]])
    target = source * [2.0, 1.0, 1.0]
    nearest = np.array([[2.0, 3.0, 0.0]])
    above = nearest + [0.0, 0.0, 4.0]
    corners = np.array([[0, 1, 2]])
    np.testing.assert_allclose(
        carried_with_faces(source, target, corners, nearest, nearest), [[4.0, 3.0, 0.0]], atol=1e-9
    )
    np.testing.assert_allclose(
        carried_with_faces(source, target, corners, nearest, above), [[4.0, 3.0, 4.0]], atol=1e-9
    )


def test_small_regions_are_sampled_more_densely() -> None:
    lid, scalp = np.array([[31.0, 34.5, 86.0]]), np.array([[45.0, 92.0, -28.0]])
    assert sampling_density(lid)[0] > 3.0 * sampling_density(scalp)[0]


def cut_of_the_bust(ict: IctModel) -> np.ndarray:
    """(n, 3) vertices of the mean canonical head on the edge where its bust is cut."""
    canonical = (ict.mean + ict.canonical_offset).astype(np.float64)
    return min((canonical[loop] for loop in boundary_loops(ict.skin_open_faces)), key=lambda p: float(p[:, 1].mean()))


def test_at_the_cut_of_the_bust_a_normal_is_that_of_its_own_side(ict: IctModel) -> None:
    canonical = (ict.mean + ict.canonical_offset).astype(np.float64)
    samples = head_samples(ict, face_density(ict), canonical, canonical, 4000, np.random.default_rng(0))
    at_cut = cKDTree(cut_of_the_bust(ict)).query(samples.points[:2000])[0] < 8.0
    points, normals = samples.points[:2000][at_cut], samples.normal[:2000][at_cut]
    inward = Solid(canonical, ict.skin_faces).signed_distance(points - 0.05 * normals)
    assert len(points) > 30
    # 0.05 mm below a surface along its normal one is 0.05 mm deep; along a normal between two sides, less
    assert np.quantile(inward.distance, 0.95) < -0.045


def test_the_cut_of_the_bust_is_sampled_more_densely_than_the_bust(ict: IctModel) -> None:
    density = face_density(ict)[: len(ict.skin_faces)]
    centroids = (ict.mean + ict.canonical_offset)[ict.skin_faces].mean(axis=1)
    away = cKDTree(cut_of_the_bust(ict)).query(centroids)[0]
    bust = centroids[:, 1] < -130.0
    assert density[bust & (away < 8.0)].mean() > 3.0 * density[bust & (away > 35.0)].mean()


def test_real_heads_have_as_many_surface_samples_as_promised(ict: IctModel) -> None:
    canonical = ict.mean + ict.canonical_offset
    samples = head_samples(ict, face_density(ict), canonical, canonical, 1000, np.random.default_rng(0))
    assert len(samples.points) == 1000
    assert not samples.distance[:500].any() and np.isfinite(samples.normal).all()


def test_real_heads_have_no_surface_samples_inside_their_eyes(ict: IctModel) -> None:
    canonical = (ict.mean + ict.canonical_offset).astype(np.float64)
    samples = head_samples(ict, face_density(ict), canonical, canonical, 4000, np.random.default_rng(0))
    just_outside = samples.points[:2000] + 0.05 * samples.normal[:2000]
    inside = Solid(canonical, ict.eye_faces).inside(just_outside)
    # where lids touch the eye, a point just outside one is inside the other
    assert inside.mean() < 0.002


def test_far_from_the_eyes_of_real_heads_the_skin_is_the_nearer_surface(ict: IctModel) -> None:
    canonical = (ict.mean + ict.canonical_offset).astype(np.float64)
    samples = head_samples(ict, face_density(ict), canonical, canonical, 8000, np.random.default_rng(0))
    skin, eyes = (
        Solid(canonical, part).signed_distance(samples.points[4000:]) for part in (ict.skin_faces, ict.eye_faces)
    )
    error = np.abs(samples.distance[4000:] - np.minimum(skin.distance, eyes.distance))[~samples.bound[4000:]]
    assert error.max() < 0.5 and (error > 1e-6).mean() < 1e-3


def test_samples_that_no_ball_covers_lie_around_the_bust_where_the_head_leaves_its_balls(ict: IctModel) -> None:
    canonical = (ict.mean + ict.canonical_offset).astype(np.float64)
    few, more = (
        head_samples(ict, face_density(ict), canonical, canonical, 3000, np.random.default_rng(0), uncovered)
        for uncovered in (0, 180)
    )
    apart = more.points[-100:]
    away = np.linalg.norm(apart[:, None] - CENTERS_MM, axis=2) / RADII_MM
    assert (away > 0.8).all() and len(few.points) == len(more.points) == 3000
    nape = (np.abs(apart[:, 0]) < 25.0) & (apart[:, 1] < -100.0) & (apart[:, 2] < -95.0)
    assert nape.mean() > 0.1
