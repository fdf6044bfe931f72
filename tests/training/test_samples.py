"""Training samples: true distances to the skin outside the eyeballs, and correspondences that turn with the surface."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from imhead.conventions import ARKIT_NAMES, BOUNDS_MAX_MM, BOUNDS_MIN_MM
from imhead.datasets.heads import OpenSources, SourceHead
from imhead.regions import CENTERS_MM, RADII_MM, REGIONS
from imhead.sources.compose import Composition
from imhead.sources.ict import IDENTITY_MODES, IctModel, boundary_loops
from imhead.surfaces.eyeballs import eye_centers, eyes_distance
from imhead.surfaces.solid import Solid
from imhead.training.samples import Samples, carried_with_faces, face_density, head_samples, sampling_density

SKIN_MM = 60.0
EYE_MM = 12.0
EYE_CENTERS = np.array([[25.0, 20.0, 46.0], [-25.0, 20.0, 46.0]])
"""56 mm from the middle of the skin: the eyes poke out by 8 mm."""
EYES = np.array([[25.0, 20.0, 46.0, EYE_MM, 0.0]] * 2)
ELSEWHERE = np.array([[15.0, 80.0, 0.0, 3.0, 0.0]] * 2)
"""Small eyeballs that meet no skin."""
IN_EYE_MM = 0.4
"""Depth in an eyeball beyond which no sample lies."""


def a_head(
    source: IctModel, eyes: np.ndarray, canonical: np.ndarray | None = None, neutral: np.ndarray | None = None
) -> SourceHead:
    """The mean head of a source, with eyeballs (2, 5)."""
    rest = source.mean if neutral is None else neutral
    return SourceHead(source, rest, eyes, rest if canonical is None else canonical, lambda weights: rest, np.asarray)


@pytest.fixture(scope="module")
def balls() -> IctModel:
    """A source whose skin is a ball."""
    skin = trimesh.creation.icosphere(subdivisions=5, radius=SKIN_MM)
    empty = np.zeros((0, len(skin.vertices), 3), dtype=np.float32)
    return IctModel(
        mean=np.asarray(skin.vertices, dtype=np.float32), identity=empty,
        expressions=np.zeros((52, len(skin.vertices), 3), np.float32), skin_faces=skin.faces,
        skin_open_faces=skin.faces, eye_faces=skin.faces[:0], mirror=np.arange(len(skin.vertices)),
    )  # fmt: skip


def to_skin(points: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(points, axis=1) - SKIN_MM)


@pytest.fixture(scope="module")
def drawn(balls: IctModel) -> Samples:
    """Of a ball with two eyeballs that poke out of it."""
    return head_samples(a_head(balls, EYES), face_density(balls), balls.mean, 6000, np.random.default_rng(0))


@pytest.fixture(scope="module")
def mean_head(ict: IctModel) -> SourceHead:
    """The mean head of ICT-FaceKit, its lids on its eyeballs."""
    nobody = Composition(np.zeros((1, IDENTITY_MODES), np.float32), np.zeros(1, bool), np.zeros(10, np.int64))
    return OpenSources(ict).head(nobody)


@pytest.fixture(scope="module")
def real(ict: IctModel, mean_head: SourceHead) -> Samples:
    """Of the mean head of ICT-FaceKit in the canonical pose."""
    return head_samples(mean_head, face_density(ict), mean_head.canonical, 8000, np.random.default_rng(0))


def test_distances_are_those_to_the_skin_even_next_to_an_eyeball(drawn: Samples) -> None:
    np.testing.assert_allclose(drawn.distance, to_skin(drawn.points), atol=0.03)
    assert (drawn.distance < -1.0).sum() > 100 and (drawn.distance > 1.0).sum() > 100
    assert not drawn.bound.any()


def test_signs_are_negative_inside_and_positive_outside(drawn: Samples) -> None:
    truth = to_skin(drawn.points)
    clear = np.abs(truth) > 0.03
    np.testing.assert_array_equal(np.sign(drawn.distance[clear]), np.sign(truth[clear]))


def test_half_of_the_samples_lie_on_the_surface(drawn: Samples) -> None:
    assert not drawn.distance[:3000].any()
    np.testing.assert_allclose(to_skin(drawn.points[:3000]), 0.0, atol=0.03)
    assert (drawn.distance[3000:] != 0).all()


def test_no_skin_inside_an_eyeball_is_sampled_and_no_place_deep_in_one(drawn: Samples) -> None:
    away = np.linalg.norm(drawn.points[:, None] - EYE_CENTERS, axis=2).min(axis=1)
    assert away.min() > EYE_MM - IN_EYE_MM
    assert away[:3000].min() > EYE_MM
    # its skin right up to the eyeball is
    assert ((away > EYE_MM) & (away < EYE_MM + 2.0))[:3000].sum() > 10


def test_the_fronts_of_the_eyeballs_are_sampled(drawn: Samples) -> None:
    off = drawn.points[3000:]
    away = off[:, None] - EYE_CENTERS
    length = np.linalg.norm(away, axis=2)
    front = (np.abs(length - EYE_MM) < 1.0) & (away[..., 2] > 0.5 * length)
    outside = to_skin(off) > 1.0
    assert (front & outside[:, None]).sum(axis=0).min() > 0.01 * len(drawn.points)


def test_normals_are_unit_gradients_of_the_distance(drawn: Samples) -> None:
    clear = (np.abs(drawn.distance) > 0.5) | (drawn.distance == 0)
    assert clear.mean() > 0.7
    outwards = drawn.points / np.linalg.norm(drawn.points, axis=1, keepdims=True)
    assert (drawn.normal * outwards).sum(axis=1)[clear].min() > 0.99
    np.testing.assert_allclose(np.linalg.norm(drawn.normal[clear], axis=1), 1.0, atol=1e-6)


def test_at_rest_every_sample_is_its_own_target(drawn: Samples) -> None:
    np.testing.assert_allclose(drawn.target, drawn.points, atol=1e-6)


def test_a_turned_head_carries_its_samples_home(balls: IctModel) -> None:
    turn = Rotation.from_euler("xyz", [0.0, 0.0, 7.0], degrees=True)
    shift = np.array([3.0, -2.0, 5.0])
    rest = balls.mean.astype(np.float64)
    posed = turn.apply(rest) + shift
    head = a_head(balls, ELSEWHERE, neutral=rest)
    samples = head_samples(head, face_density(balls), posed, 1000, np.random.default_rng(1))
    np.testing.assert_allclose(samples.target, turn.inv().apply(samples.points - shift), atol=1e-5)


def plates(gap_mm: float, thick_mm: float = 10.0) -> IctModel:
    """Two flat boxes face to face, the lips of a mouth that is `gap_mm` open."""
    skins = [trimesh.creation.box([40.0, thick_mm, 40.0]).subdivide_to_size(4.0) for _ in range(2)]
    for skin, side in zip(skins, (-1.0, 1.0)):
        skin.apply_translation([0.0, side * 0.5 * (thick_mm + gap_mm), 0.0])
    vertices = np.concatenate([skin.vertices for skin in skins])
    faces = np.concatenate([skins[0].faces, skins[1].faces + len(skins[0].vertices)])
    empty = np.zeros((0, len(vertices), 3), dtype=np.float32)
    return IctModel(
        mean=vertices.astype(np.float32), identity=empty, expressions=np.zeros((52, len(vertices), 3), np.float32),
        skin_faces=faces, skin_open_faces=faces, eye_faces=faces[:0], mirror=np.arange(len(vertices)),
    )  # fmt: skip


def samples_of_plates(gap_mm: float, thick_mm: float = 10.0) -> Samples:
    source = plates(gap_mm, thick_mm)
    return head_samples(a_head(source, ELSEWHERE), face_density(source), source.mean, 8000, np.random.default_rng(0))


@pytest.mark.parametrize(("gap_mm", "shut"), [(0.6, True), (1.2, True), (2.0, False), (6.0, False)])
def test_a_gap_that_no_scanner_resolves_is_shut_and_a_wider_one_is_open(gap_mm: float, shut: bool) -> None:
    drawn = samples_of_plates(gap_mm)
    between = (np.abs(drawn.points) < [17.0, 0.5 * gap_mm + 1e-4, 17.0]).all(axis=1)
    on_surface = between[:4000] & (drawn.distance[:4000] == 0)
    if shut:
        assert not on_surface.any()
        assert between.sum() > 100 and drawn.bound[between].all() and drawn.distance[between].max() < -0.1
        assert not drawn.normal[drawn.bound].any()
    else:
        assert on_surface.sum() > 100
        assert not drawn.bound[between].any() and drawn.distance[between].min() >= 0


@pytest.mark.parametrize("thick_mm", [1.0, 2.0, 5.0])
def test_the_middle_of_a_thin_wall_is_sampled_and_lies_inside(thick_mm: float) -> None:
    def middle(thick: float) -> np.ndarray:
        """Distances of the samples in the middle half of a wall, at most `thick_mm` / 4 from its middle."""
        drawn = samples_of_plates(20.0, thick)
        across = np.abs(np.abs(drawn.points[:, 1]) - 10.0 - 0.5 * thick)
        within = (across < 0.25 * thick_mm) & (np.abs(drawn.points[:, [0, 2]]) < 15.0).all(axis=1)
        return drawn.distance[within]

    thin, thick = middle(thick_mm), middle(20.0)
    assert (thin < -0.24 * thick_mm).all()
    # a wall of 20 mm is no thin one
    assert len(thin) > len(thick) + 200


def test_the_shut_lips_of_a_real_neutral_head_are_held_to_lie_inside(
    ict: IctModel, mean_head: SourceHead, real: Samples
) -> None:
    neutral = head_samples(mean_head, face_density(ict), mean_head.neutral, 8000, np.random.default_rng(0))
    lips = [r.index for r in REGIONS if r.name in ("upper_lip", "lower_lip")]

    def at_lips(drawn: Samples) -> int:
        near = np.linalg.norm(drawn.points[:, None] - CENTERS_MM[lips], axis=2) < 0.5 * RADII_MM[lips]
        return int((near.any(axis=1) & drawn.bound).sum())

    assert at_lips(neutral) > 20
    assert at_lips(real) == 0


def test_an_open_mouth_is_sampled_between_its_lips_and_not_only_near_them(ict: IctModel, mean_head: SourceHead) -> None:
    weights = np.zeros(52)
    weights[ARKIT_NAMES.index("jawOpen")] = 0.8
    posed = mean_head.posed(weights)

    def within(drawn: Samples) -> int:
        # the mouth of this pose is open from y = -70 to -40 mm
        inside = (np.abs(drawn.points - [0.0, -54.0, 95.0]) < [15.0, 12.0, 10.0]).all(axis=1)
        return int((inside & (drawn.distance > 4.0)).sum())

    rng = np.random.default_rng(0)
    assert within(head_samples(mean_head, face_density(ict), posed, 3000, rng)) > 30
    # a pose that moves nothing gets none of them
    still = replace(mean_head, canonical=posed)
    assert within(head_samples(still, face_density(ict), posed, 3000, rng)) < 10


def test_samples_stay_near_the_head_except_a_few_anywhere_in_the_bounds(drawn: Samples) -> None:
    assert np.percentile(np.abs(drawn.distance), 90) < 25.0
    assert ((drawn.points > BOUNDS_MIN_MM) & (drawn.points < BOUNDS_MAX_MM)).all(axis=1).mean() > 0.99
    assert np.abs(drawn.distance).max() > 50.0


def test_the_same_seed_draws_the_same_samples(balls: IctModel) -> None:
    head = a_head(balls, EYES)
    first, again = (
        head_samples(head, face_density(balls), balls.mean, 200, np.random.default_rng(4)) for _ in range(2)
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


def test_at_the_cut_of_the_bust_a_normal_is_that_of_its_own_side(
    ict: IctModel, mean_head: SourceHead, real: Samples
) -> None:
    at_cut = cKDTree(cut_of_the_bust(ict)).query(real.points[:4000])[0] < 8.0
    points, normals = real.points[:4000][at_cut], real.normal[:4000][at_cut]
    skin = Solid(mean_head.canonical.astype(np.float64), ict.skin_faces)
    inward = skin.signed_distance(points - 0.05 * normals)
    assert len(points) > 30
    # 0.05 mm below a surface along its normal one is 0.05 mm deep; along a normal between two sides, less
    assert np.quantile(inward.distance, 0.95) < -0.045


def test_the_cut_of_the_bust_is_sampled_more_densely_than_the_bust(ict: IctModel) -> None:
    density = face_density(ict)
    assert density.shape == (len(ict.skin_faces),)
    centroids = (ict.mean + ict.canonical_offset)[ict.skin_faces].mean(axis=1)
    away = cKDTree(cut_of_the_bust(ict)).query(centroids)[0]
    bust = centroids[:, 1] < -130.0
    assert density[bust & (away < 8.0)].mean() > 3.0 * density[bust & (away > 35.0)].mean()


def test_real_heads_have_as_many_surface_samples_as_promised(real: Samples) -> None:
    assert len(real.points) == 8000
    assert not real.distance[:4000].any() and np.isfinite(real.normal).all()


def test_no_sample_of_a_real_head_lies_deep_in_an_eyeball_and_no_surface_in_one(
    ict: IctModel, mean_head: SourceHead, real: Samples
) -> None:
    blink = np.zeros(52)
    blink[[ARKIT_NAMES.index(f"eyeBlink{side}") for side in ("Left", "Right")]] = 1.0, 0.5
    shut = head_samples(mean_head, face_density(ict), mean_head.posed(blink), 4000, np.random.default_rng(0))
    for drawn, surface in ((real, 4000), (shut, 2000)):
        depth = eyes_distance(drawn.points, mean_head.eyes)
        assert depth.min() >= -IN_EYE_MM and depth[:surface].min() >= 0.0
        near = np.linalg.norm(drawn.points[:, None] - eye_centers(mean_head.eyes), axis=2).min(axis=1) < 25.0
        assert (near & (np.abs(depth) < 1.0)).sum() > 100


def test_samples_of_a_real_head_have_the_distance_to_its_skin(
    ict: IctModel, mean_head: SourceHead, real: Samples
) -> None:
    skin = Solid(mean_head.canonical.astype(np.float64), ict.skin_faces)
    free = ~real.bound[4000:]
    found = skin.signed_distance(real.points[4000:]).distance
    np.testing.assert_array_equal(real.distance[4000:][free], found[free])
    # in a crevice a point counts as inside, and at least as deep as it is
    assert (real.distance[4000:][~free] <= np.minimum(found[~free], -0.2)).all()


def test_the_walls_of_real_ears_are_sampled_inside(ict: IctModel, mean_head: SourceHead) -> None:
    ears = [r.index for r in REGIONS if r.name.endswith("ear_helix")]
    inside = []
    for seed in range(4):  # one draw varies by an eighth
        drawn = head_samples(mean_head, face_density(ict), mean_head.canonical, 8000, np.random.default_rng(seed))
        near = np.linalg.norm(drawn.points[:, None] - CENTERS_MM[ears], axis=2).min(axis=1) < 15.0
        inside.append((near & (drawn.distance < -0.5)).sum())
    assert np.mean(inside) > 50


def test_samples_that_no_ball_covers_lie_around_the_bust_where_the_head_leaves_its_balls(
    ict: IctModel, mean_head: SourceHead
) -> None:
    few, more = (
        head_samples(mean_head, face_density(ict), mean_head.canonical, 3000, np.random.default_rng(0), uncovered)
        for uncovered in (0, 180)
    )
    apart = more.points[-80:]
    away = np.linalg.norm(apart[:, None] - CENTERS_MM, axis=2) / RADII_MM
    assert (away > 0.8).all() and len(few.points) == len(more.points) == 3000
    nape = (np.abs(apart[:, 0]) < 25.0) & (apart[:, 1] < -100.0) & (apart[:, 2] < -95.0)
    assert nape.mean() > 0.1
