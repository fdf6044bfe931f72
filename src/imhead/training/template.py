"""The template of a trained model: a linear map from region codes to its vertices, by ridge regression.

The offsets of each vertex are known, since the training heads are registered; their codes are in the learner's table.
The model fitted to vertex i is Σ_j w_ij B_ij z_j over regions j, with compact weights like those of the network.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import igl
import numpy as np
import torch
from scipy.sparse import coo_matrix, diags
from scipy.spatial import cKDTree
from torch import Tensor

from imhead.checkpoint import Model, load_model
from imhead.conventions import MODEL_UNIT_MM
from imhead.errors import InputError
from imhead.isosurface.field import HeadField
from imhead.model.fusion import wendland
from imhead.model.head import HeadModel
from imhead.regions import REGION_COUNT
from imhead.sources.ict import IctModel, boundary_loops
from imhead.surfaces.normals import vertex_normals
from imhead.template.projection import gradient, onto_zero_set, smoothstep
from imhead.template.surface import TemplateSurface, load_template, save_template, template_path
from imhead.template.topology import LEFT_EYE, MOUTH, Topology, load_topology
from imhead.training.template_smoothing import with_smooth_margins
from imhead.types import FloatArray, IntArray

_REACH = 0.97
"""A region moves the vertices that lie within this fraction of its ball's radius on every training head and on `_DRAWN`
drawn heads: no vertex is moved by a region whose ball does not contain it."""
_DRAWN = 400
"""Number of heads drawn from the distribution of codes; they vary more than the training heads."""
_DEVIATION = 0.8
_LEAST_EXCESS = 1.02
"""Where no ball contains a vertex on every head, the regions that move it exceed the smallest distance by at most this
factor."""
_GAP_MM = (2.5, 7.0)
"""A vertex in a gap narrower than the first keeps its regressed place; in a gap wider than the second it is moved onto
the zero set; in between, part of the way. The next two pairs are used alike."""
_NECK_MM = (4.0, 16.0)
"""Distance from the cut below the shoulders, near which there are no training points."""
_PALATE_MM = (60.0, 75.0)
"""Height z of the lining of the mouth; behind the teeth it is hidden, and its sheets are close to each other."""
_STILL_MM = 0.01
"""Smaller offsets of a shape are set to zero, so that files can omit them."""
_RIDGE = 1e-3
_CHUNK = 50


@torch.no_grad()
def build_template(
    model: Model,
    z_id: Tensor,
    ict: IctModel,
    offsets: Tensor,
    progress: Callable[[str], None],
) -> TemplateSurface:
    """The template of a trained model, on the topology that ships.

    Args:
        z_id: (M, 256) codes of its training heads.
        offsets: (M, V, 3) offsets of the same heads, on the common topology, mm.
    """
    topology = load_topology()
    net = model.net
    source_mean = topology.place((ict.mean + ict.canonical_offset).astype(np.float64))
    mean: FloatArray = 0.5 * (source_mean + source_mean[topology.twin] * [-1.0, 1.0, 1.0])
    mean, on_surface = _on_mean_head(model, topology, mean)
    gram, moment = _moments(net, z_id, topology, offsets)

    def fitted(farthest: FloatArray) -> TemplateSurface:
        vertex, region, weight = _pairs(farthest)
        skin = topology.part[vertex] < LEFT_EYE  # eyeballs follow z_id
        vertex, region, weight = vertex[skin], region[skin], weight[skin]
        progress(f"template: {len(vertex)} pairs of vertex and region")
        return TemplateSurface(
            model_hash=model.hash,
            faces=topology.faces,
            uv=topology.uv,
            uv_faces=topology.uv_faces,
            part=topology.part,
            twin=topology.twin,
            mean=mean,
            on_surface=on_surface,
            pair_vertex=vertex,
            pair_region=region,
            basis=_solve(gram, moment, vertex, region, weight, net.config.region_code_size),
            shapes=_shapes(ict, topology),
        )

    def registered(rows: slice) -> FloatArray:
        return source_mean + topology.place(offsets[rows].numpy())

    farthest = _farthest(net, net.decnet(z_id), topology, source_mean, registered)
    draft = fitted(farthest)
    size = net.config.identity_size
    drawn = net.decnet(_DEVIATION * torch.randn(_DRAWN, size, generator=torch.Generator().manual_seed(0)))

    def blended(rows: slice) -> FloatArray:
        return np.stack([draft.blend(model, z) for z in drawn[rows].numpy()])

    whole = fitted(np.maximum(farthest, _farthest(net, drawn, topology, source_mean, blended)))
    return with_smooth_margins(whole, np.tile(net.eye_net.mean.cpu().numpy().astype(np.float64), (2, 1)))


def _shapes(ict: IctModel, topology: Topology) -> FloatArray:
    """The 52 ARKit shapes (52, V, 3) at the template's vertices, mm."""
    shapes = topology.place(ict.expressions)
    return shapes * (np.linalg.norm(shapes, axis=2, keepdims=True) > _STILL_MM)


def _on_mean_head(model: Model, topology: Topology, mean: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The mean head's vertices (V, 3), moved onto its zero set, and by what share (V,) of the way each was moved."""
    field = HeadField(model, model.neutral()).canonical_sdf
    normals = vertex_normals(mean, topology.faces)[0]
    value, slope = gradient(field, mean)
    cosine = np.einsum("vc,vc->v", slope, normals) / np.maximum(np.linalg.norm(slope, axis=1), 1e-6)
    belongs = smoothstep(0.3, 0.6, cosine) * smoothstep(1.5, 0.7, np.abs(value))
    # in this pose the lips are too close for the field to separate them
    belongs *= smoothstep(*_GAP_MM, _gap(mean, normals, topology.faces))
    cut = max(boundary_loops(topology.faces), key=len)
    belongs *= smoothstep(*_NECK_MM, cKDTree(mean[cut]).query(mean)[0])
    belongs[topology.part == MOUTH] *= smoothstep(*_PALATE_MM, mean[topology.part == MOUTH, 2])
    belongs = np.minimum(belongs, belongs[topology.twin]) * (topology.part < LEFT_EYE)
    edges = np.unique(np.sort(topology.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
    both = np.concatenate([edges, edges[:, ::-1]])
    graph = coo_matrix((np.ones(len(both)), (both[:, 0], both[:, 1])), (len(mean), len(mean))).tocsr()
    average = diags(1.0 / np.asarray(graph.sum(axis=1)).ravel()) @ graph
    share = belongs
    for _ in range(2):  # fades out over two rings of vertices, to avoid a step
        share = np.minimum(belongs, 0.5 * (share + average @ share))
    moved = onto_zero_set(field, mean, normals, share)
    return 0.5 * (moved + moved[topology.twin] * [-1.0, 1.0, 1.0]), share


def _gap(points: FloatArray, normals: FloatArray, faces: IntArray) -> FloatArray:
    """Width (V,) of the gap between a vertex and a sheet that faces it: the diameter of a ball between them, mm."""
    gap = np.full(len(points), np.inf)
    for radius in np.linspace(0.5 * _GAP_MM[1], 0.5 * _GAP_MM[0], 7):
        squared, face, _ = igl.point_mesh_squared_distance(points + radius * normals, points, faces)
        opposed = np.einsum("vc,vc->v", normals[faces[face]].mean(axis=1), normals) < -0.3
        gap[opposed & (squared < (0.9 * radius) ** 2)] = 2.0 * radius
    return gap


@torch.no_grad()
def _farthest(
    net: HeadModel, codes: Tensor, topology: Topology, mean: FloatArray, vertices_of: Callable[[slice], FloatArray]
) -> FloatArray:
    """(H, 39) largest distance of a vertex from a keypoint over all heads and mirror images, in radii of its ball.

    Args:
        codes: (M, 39, 64) region codes of the heads.
        vertices_of: a slice of the heads → their vertices (m, V, 3), mm.
    """
    half, flip = topology.half, np.array([-1.0, 1.0, 1.0], dtype=np.float32)
    twin, mirror = topology.twin[:half], net.mirror.numpy()
    keypoints = net.keypoint_net(codes).numpy() * MODEL_UNIT_MM
    radius = net.radius.numpy() * MODEL_UNIT_MM
    start = np.linalg.norm(mean[:half, None] - net.keypoint_net.mean.numpy() * MODEL_UNIT_MM, axis=2) / radius
    near = [np.flatnonzero(column < 1.0) for column in start.T]
    farthest = np.where(start < 1.0, start, np.inf)
    for first in range(0, len(codes), _CHUNK):
        chunk = slice(first, first + _CHUNK)
        y, centers = vertices_of(chunk).astype(np.float32), keypoints[chunk]
        for points, found in ((y[:, :half], centers), (y[:, twin] * flip, centers[:, mirror] * flip)):
            for region, vertices in enumerate(near):
                away = np.linalg.norm(points[:, vertices] - found[:, None, region], axis=2).max(axis=0) / radius[region]
                farthest[vertices, region] = np.maximum(farthest[vertices, region], away)
    return farthest


def _pairs(farthest: FloatArray) -> tuple[IntArray, IntArray, FloatArray]:
    """Pairs of vertex and region with their weights, sorted by region; the weights of a vertex sum to 1.

    Every vertex has a region: where no ball contains it on all heads, those that it leaves by least.
    """
    share = farthest / np.maximum(_REACH, _LEAST_EXCESS * farthest.min(axis=1, keepdims=True))
    weight = wendland(torch.from_numpy(np.minimum(share, 1.0))).numpy()
    weight = weight / weight.sum(axis=1, keepdims=True)
    region, vertex = np.nonzero(weight.T > 1e-4)
    return vertex, region, weight[vertex, region]


@torch.no_grad()
def _moments(net: HeadModel, z_id: Tensor, topology: Topology, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """ZᵀZ (39·64, 39·64) and ZᵀY (39·64, H·3), summed over the heads and their mirror images."""
    half = topology.half
    codes = net.decnet(z_id)
    width = codes[0].numel()
    gram = torch.zeros(width, width, dtype=torch.float64)
    moment = torch.zeros(width, half * 3)
    twin, flip = topology.twin[:half], np.array([-1.0, 1.0, 1.0], dtype=np.float32)
    for first in range(0, len(codes), _CHUNK):
        z = codes[first : first + _CHUNK]
        y = topology.place(offsets[first : first + _CHUNK].numpy()).astype(np.float32)
        for rows, moved in ((z, y[:, :half]), (z[:, net.mirror] * net.region_parity, y[:, twin] * flip)):
            flat = rows.flatten(1)
            gram += (flat.T @ flat).double()
            moment += flat.T @ torch.from_numpy(moved).flatten(1)
    return gram, moment


def _solve(
    gram: Tensor, moment: Tensor, vertex: IntArray, region: IntArray, weight: FloatArray, size: int
) -> FloatArray:
    """w_ij B_ij (P, size, 3): one ridge regression for each vertex, on the codes of its regions."""
    blocks = gram.view(REGION_COUNT, size, REGION_COUNT, size)
    sums = moment.double().view(REGION_COUNT, size, -1, 3)
    scale = float(gram.diagonal().mean())
    basis = np.zeros((len(vertex), size, 3), dtype=np.float32)
    order = np.argsort(vertex, kind="stable")
    bounds = np.searchsorted(vertex[order], np.arange(int(vertex.max()) + 2))
    for row in range(len(bounds) - 1):
        pairs = order[bounds[row] : bounds[row + 1]]
        if not len(pairs):
            continue
        regions = torch.from_numpy(region[pairs])
        w = torch.from_numpy(weight[pairs]).double()
        a = blocks[regions][:, :, regions] * w[:, None, None, None] * w[None, None, :, None]
        a = a.reshape(len(pairs) * size, -1)
        a.diagonal().add_(_RIDGE * scale)
        b = (sums[regions, :, row] * w[:, None, None]).reshape(-1, 3)
        found = torch.linalg.solve(a, b).view(len(pairs), size, 3)
        basis[pairs] = (found * w[:, None, None]).float().numpy()
    return basis


def write_template(
    model_path: Path, z_id: Tensor, ict: IctModel, offsets: Tensor, progress: Callable[[str], None]
) -> Path:
    """Fit the template of a model file and write it beside the file; its path. The written file is opened as a check.

    The fit uses the rounded weights of the file.

    Args:
        z_id: (M, 256) code table of the model's run.
        offsets: (M, V, 3) offsets of its training heads, on the common topology, mm.

    Raises:
        InputError: there is no such model, or the numbers of codes and heads differ.
    """
    if len(z_id) != len(offsets):
        raise InputError(f"{model_path}: {len(z_id)} codes for {len(offsets)} heads; use the heads of its own run")
    model = load_model(model_path)
    path = template_path(model_path)
    save_template(build_template(model, z_id.detach().cpu(), ict, offsets, progress=progress), path)
    load_template(path, model)
    return path
