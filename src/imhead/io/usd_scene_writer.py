"""A scene as USD: UsdSkel meshes with blend shapes, a skeleton, materials and an animation. Centimetres, +Y up.

usd-core writes it, which the extra `usd` installs. A .usda has its pictures beside it, a .usdz in it.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from imhead.conventions import srgb_to_linear
from imhead.errors import InputError
from imhead.io.atomic import write_atomically
from imhead.io.glb_scene_writer import Clip, Joint, Material, Part, Scene, keys_within, moves_of
from imhead.surfaces.normals import vertex_normals
from imhead.types import FloatArray

UNIT_MM = 10.0
_RATE = 60.0  # time codes for each second; a take's times need not fall on whole ones
_ENDINGS = {"image/jpeg": "jpg", "image/png": "png"}
_ROOT = "/avatar"


def write_usd_scene(scene: Scene, path: Path, *, weight_error: float = 0.002, turn_error: float = 0.001) -> int:
    """Write a .usda, with its pictures beside it, or a .usdz, each file whole or not at all; the bytes of all.

    Args:
        scene: what the file holds.
        path: the file.
        weight_error: an animated weight differs from the given one by at most this much at any given time.
        turn_error: the same for each number of a quaternion.

    Raises:
        InputError: usd-core is not installed, or a file cannot be written.
    """
    try:
        from pxr import Usd, UsdUtils
    except ImportError:
        raise InputError(f"{path}: is USD; run pip install 'imhead[usd]', or write a .glb") from None
    packed = path.suffix.lower() == ".usdz"
    stem = "avatar" if packed else re.sub(r"[^A-Za-z0-9_-]", "_", path.stem) or "avatar"
    pictures = {f"{stem}_{image.name}.{_ENDINGS[image.kind]}": image.data for image in scene.images}
    with tempfile.TemporaryDirectory(prefix="imhead-usd-") as folder:
        layer = Path(folder) / ("avatar.usdc" if packed else "avatar.usda")
        for name, data in pictures.items():
            (Path(folder) / name).write_bytes(data)
        stage = Usd.Stage.CreateNew(str(layer))
        _fill(stage, scene, list(pictures), weight_error, turn_error)
        stage.GetRootLayer().Save()
        if packed:
            package = Path(folder) / "avatar.usdz"
            UsdUtils.CreateNewUsdzPackage(str(layer), str(package))
            files = {path: package.read_bytes()}
        else:
            # the pictures first: a layer whose pictures are missing is no whole file
            files = {path.parent / name: data for name, data in pictures.items()} | {path: layer.read_bytes()}
    for file, data in files.items():
        write_atomically(file, data)
    return sum(map(len, files.values()))


def _fill(stage: Any, scene: Scene, pictures: list[str], weight_error: float, turn_error: float) -> None:
    from pxr import UsdGeom, UsdSkel

    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, UNIT_MM / 1000.0)
    root = UsdSkel.Root.Define(stage, _ROOT)
    stage.SetDefaultPrim(root.GetPrim())
    stage.GetRootLayer().customLayerData = {key: str(text) for key, text in scene.notes.items()}
    materials = [
        _material(stage, material, None if material.image is None else pictures[material.image], scene)
        for material in scene.materials
    ]
    paths = _joint_paths(scene.joints)
    skeleton = _skeleton(stage, scene.joints, paths) if paths else None
    animation = None
    if paths:
        animation = _animation(stage, scene, paths, weight_error, turn_error)
    for part in scene.parts:
        mesh = _mesh(stage, part, materials[part.material], scene.materials[part.material])
        if skeleton is not None and part.joints is not None:
            _bind(mesh, part, skeleton, animation)


def _material(stage: Any, material: Material, picture: str | None, scene: Scene) -> Any:
    from pxr import Gf, Sdf, UsdShade

    path = f"{_ROOT}/materials/{_name(material.name)}"
    stage.DefinePrim(f"{_ROOT}/materials", "Scope")
    found = UsdShade.Material.Define(stage, path)
    surface = UsdShade.Shader.Define(stage, f"{path}/surface")
    surface.CreateIdAttr("UsdPreviewSurface")
    surface.CreateInput("roughness", Sdf.ValueTypeNames.Float).Set(float(material.roughness))
    surface.CreateInput("metallic", Sdf.ValueTypeNames.Float).Set(0.0)
    color = surface.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f)
    linear = srgb_to_linear(np.array(material.color[:3], dtype=np.float64))
    if picture is not None:
        reader = _reader(stage, f"{path}/places", "UsdPrimvarReader_float2", "st")
        texture = UsdShade.Shader.Define(stage, f"{path}/picture")
        texture.CreateIdAttr("UsdUVTexture")
        texture.CreateInput("file", Sdf.ValueTypeNames.Asset).Set(Sdf.AssetPath(f"./{picture}"))
        texture.CreateInput("sourceColorSpace", Sdf.ValueTypeNames.Token).Set("sRGB")
        for wrap in ("wrapS", "wrapT"):
            texture.CreateInput(wrap, Sdf.ValueTypeNames.Token).Set("clamp")
        texture.CreateInput("scale", Sdf.ValueTypeNames.Float4).Set(Gf.Vec4f(*map(float, linear), 1.0))
        places = reader.CreateOutput("result", Sdf.ValueTypeNames.Float2)
        texture.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(places)
        color.ConnectToSource(texture.CreateOutput("rgb", Sdf.ValueTypeNames.Float3))
    elif any(part.colors is not None and scene.materials[part.material] is material for part in scene.parts):
        reader = _reader(stage, f"{path}/colors", "UsdPrimvarReader_float3", "displayColor")
        color.ConnectToSource(reader.CreateOutput("result", Sdf.ValueTypeNames.Float3))
    else:
        color.Set(Gf.Vec3f(*map(float, linear)))
    if material.see_through:
        surface.CreateInput("opacity", Sdf.ValueTypeNames.Float).Set(float(material.color[3]))
    output = surface.CreateOutput("surface", Sdf.ValueTypeNames.Token)
    found.CreateSurfaceOutput().ConnectToSource(output)
    return found


def _reader(stage: Any, path: str, kind: str, name: str) -> Any:
    from pxr import Sdf, UsdShade

    reader = UsdShade.Shader.Define(stage, path)
    reader.CreateIdAttr(kind)
    reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set(name)
    return reader


def _mesh(stage: Any, part: Part, material: Any, look: Material) -> Any:
    from pxr import Sdf, UsdGeom, UsdShade, Vt

    mesh = UsdGeom.Mesh.Define(stage, f"{_ROOT}/{_name(part.name)}")
    points = (part.vertices / UNIT_MM).astype(np.float32)
    normals, _ = vertex_normals(part.vertices, part.faces)
    mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(points))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(part.faces), 3, dtype=np.int32)))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(part.faces.astype(np.int32).ravel()))
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    mesh.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(normals.astype(np.float32)))
    mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    mesh.CreateExtentAttr(Vt.Vec3fArray.FromNumpy(np.stack([points.min(axis=0), points.max(axis=0)])))
    mesh.CreateDoubleSidedAttr(look.two_sided)
    primvars = UsdGeom.PrimvarsAPI(mesh)
    if part.uv is not None:
        flat = primvars.CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying)
        flat.Set(Vt.Vec2fArray.FromNumpy(part.uv.uv.astype(np.float32)))
        flat.SetIndices(Vt.IntArray.FromNumpy(part.uv.faces.astype(np.int32).ravel()))
    if part.colors is not None:
        linear = srgb_to_linear(part.colors / 255.0) * srgb_to_linear(np.array(look.color[:3], dtype=np.float64))
        shown = mesh.CreateDisplayColorPrimvar(UsdGeom.Tokens.vertex)
        shown.Set(Vt.Vec3fArray.FromNumpy(linear.astype(np.float32)))
    UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(material)
    return mesh


def _bind(mesh: Any, part: Part, skeleton: Any, animation: Any) -> None:
    """Hang a mesh on the skeleton, and give it its shapes."""
    from pxr import Gf, Sdf, UsdSkel, Vt

    assert part.joints is not None and part.weights is not None
    binding = UsdSkel.BindingAPI.Apply(mesh.GetPrim())
    binding.CreateSkeletonRel().SetTargets([skeleton.GetPath()])
    if animation is not None:
        binding.CreateAnimationSourceRel().SetTargets([animation.GetPath()])
    joints = binding.CreateJointIndicesPrimvar(False, part.joints.shape[1])
    joints.Set(Vt.IntArray.FromNumpy(part.joints.astype(np.int32).ravel()))
    weights = binding.CreateJointWeightsPrimvar(False, part.weights.shape[1])
    weights.Set(Vt.FloatArray.FromNumpy(part.weights.astype(np.float32).ravel()))
    binding.CreateGeomBindTransformAttr(Gf.Matrix4d(1.0))
    if part.shapes is None:
        return
    normals, _ = vertex_normals(part.vertices, part.faces)
    targets: list[Any] = []
    for name, offsets in zip(part.shapes.names, part.shapes.offsets):
        moved, turn = moves_of(part, offsets, normals)
        rows = np.flatnonzero(moved.any(axis=1) | turn.any(axis=1))
        shape = UsdSkel.BlendShape.Define(mesh.GetPrim().GetStage(), f"{mesh.GetPath()}/{_name(name)}")
        shape.CreateOffsetsAttr(Vt.Vec3fArray.FromNumpy((moved[rows] / UNIT_MM).astype(np.float32)))
        shape.CreateNormalOffsetsAttr(Vt.Vec3fArray.FromNumpy(turn[rows].astype(np.float32)))
        shape.CreatePointIndicesAttr(Vt.IntArray.FromNumpy(rows.astype(np.int32)))
        targets.append(Sdf.Path(shape.GetPath()))
    binding.CreateBlendShapesAttr(list(part.shapes.names))
    binding.CreateBlendShapeTargetsRel().SetTargets(targets)


def _joint_paths(joints: tuple[Joint, ...]) -> list[str]:
    """The path of each joint from its root, as UsdSkel names them."""
    paths: list[str] = []
    for joint in joints:
        above = "" if joint.parent is None else paths[joint.parent] + "/"
        paths.append(above + _name(joint.name))
    return paths


def _skeleton(stage: Any, joints: tuple[Joint, ...], paths: list[str]) -> Any:
    from pxr import UsdSkel, Vt

    skeleton = UsdSkel.Skeleton.Define(stage, f"{_ROOT}/skeleton")
    skeleton.CreateJointsAttr(paths)
    bound, rest = np.tile(np.eye(4), (2, len(joints), 1, 1))  # rows of points times the matrix, as USD has it
    bound[:, 3, :3] = [joint.place / UNIT_MM for joint in joints]
    rest[:, 3, :3] = _shifts(joints)
    skeleton.CreateBindTransformsAttr(Vt.Matrix4dArray.FromNumpy(bound))
    skeleton.CreateRestTransformsAttr(Vt.Matrix4dArray.FromNumpy(rest))
    return skeleton


def _shifts(joints: tuple[Joint, ...]) -> FloatArray:
    """(J, 3) each joint's place from its parent's."""
    origin = [np.zeros(3) if joint.parent is None else joints[joint.parent].place for joint in joints]
    return np.array([joint.place - start for joint, start in zip(joints, origin)]) / UNIT_MM


def _animation(stage: Any, scene: Scene, paths: list[str], weight_error: float, turn_error: float) -> Any:
    """Weights and turns, at rest where the scene has no take."""
    from pxr import Gf, UsdSkel, Vt

    found = UsdSkel.Animation.Define(stage, f"{_ROOT}/take")
    names = list(dict.fromkeys(n for part in scene.parts if part.shapes is not None for n in part.shapes.names))
    first = {
        name: float(weight)
        for part in reversed(scene.parts) if part.shapes is not None
        for name, weight in zip(part.shapes.names, part.shapes.weights)
    }  # fmt: skip
    found.CreateJointsAttr(paths)
    found.CreateTranslationsAttr(Vt.Vec3fArray.FromNumpy(_shifts(scene.joints).astype(np.float32)))
    found.CreateScalesAttr(Vt.Vec3hArray([Gf.Vec3h(1.0)] * len(paths)))
    found.CreateBlendShapesAttr(names)
    clip = scene.animation
    still = Vt.QuatfArray([Gf.Quatf(1.0)] * len(paths))
    if clip is None:
        found.CreateRotationsAttr(still)
        found.CreateBlendShapeWeightsAttr([first[name] for name in names])
        return found
    stage.SetTimeCodesPerSecond(_RATE)
    stage.SetFramesPerSecond(_RATE)
    stage.SetStartTimeCode(0.0)
    stage.SetEndTimeCode(float(clip.times[-1]) * _RATE)
    zeros = np.zeros(len(clip.times))
    table = np.stack([clip.weights.get(name, zeros) for name in names], axis=1)
    weights, turns = found.CreateBlendShapeWeightsAttr(), found.CreateRotationsAttr(still)
    for key in keys_within(clip.times, table, weight_error):
        weights.Set(Vt.FloatArray.FromNumpy(table[key].astype(np.float32)), float(clip.times[key]) * _RATE)
    numbers = _turns(clip, scene.joints)
    for key in keys_within(clip.times, numbers.reshape(len(numbers), -1), turn_error):
        quats = [Gf.Quatf(float(w), float(x), float(y), float(z)) for x, y, z, w in numbers[key]]
        turns.Set(Vt.QuatfArray(quats), float(clip.times[key]) * _RATE)
    return found


def _turns(clip: Clip, joints: tuple[Joint, ...]) -> FloatArray:
    """(T, J, 4) unit quaternions x, y, z, w of all joints."""
    rest = np.tile([0.0, 0.0, 0.0, 1.0], (len(clip.times), 1))
    return np.stack([clip.turns.get(joint.name, rest) for joint in joints], axis=1)


def _name(text: str) -> str:
    """A prim's name."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", text) or "_"
    return plain if not plain[0].isdigit() else f"_{plain}"
