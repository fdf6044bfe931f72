"""Writers of the formats that are read, as small as they go; each writes the ball, or another small mesh."""

from __future__ import annotations

import base64
import io
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from pxr import Sdf
from tests.io.files import ball, text_rows


def zipped(entries: dict[str, bytes], **options: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return out.getvalue()


def model_3mf(
    before: str = "",
    build: str = '<item objectid="1"/>',
    mesh: str | None = None,
    surface: trimesh.Trimesh | None = None,
) -> bytes:
    surface = surface or ball()
    vertices = "".join(f'<vertex x="{x}" y="{y}" z="{z}"/>' for x, y, z in surface.vertices.tolist())
    triangles = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in surface.faces.tolist())
    mesh = mesh or f"<mesh><vertices>{vertices}</vertices><triangles>{triangles}</triangles></mesh>"
    space = 'xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02" xmlns:p="http://production"'
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><model unit="millimeter" {space}><resources>'
        f'<object id="1" type="model">{mesh}</object>{before}</resources><build>{build}</build></model>'
    ).encode()


def file_3mf(**parts: Any) -> bytes:
    return zipped({"[Content_Types].xml": b"<Types/>", "3D/3dmodel.model": model_3mf(**parts)})


def vtk_ascii(mesh: trimesh.Trimesh | None = None) -> bytes:
    mesh = mesh or ball()
    points, triangles = len(mesh.vertices), len(mesh.faces)
    return (
        f"# vtk DataFile Version 3.0\nhead\nASCII\nDATASET POLYDATA\nPOINTS {points} float\n{text_rows(mesh.vertices)}"
        f"POLYGONS {triangles} {4 * triangles}\n{text_rows(mesh.faces, '3 ')}"
        f"POINT_DATA {points}\nSCALARS depth float 1\nLOOKUP_TABLE default\n{'0.5 ' * points}\n"
    ).encode()


def vtk_binary(mesh: trimesh.Trimesh | None = None) -> bytes:
    mesh = mesh or ball()
    points, triangles = len(mesh.vertices), len(mesh.faces)
    rows = np.hstack([np.full((triangles, 1), 3), mesh.faces]).astype(">i4").tobytes()
    return (
        f"# vtk DataFile Version 3.0\nhead\nBINARY\nDATASET POLYDATA\nPOINTS {points} double\n".encode()
        + mesh.vertices.astype(">f8").tobytes()
        + f"\nPOLYGONS {triangles} {4 * triangles}\n".encode()
        + rows
        + b"\nCELL_DATA 0\n"
    )


def vtk_five(mesh: trimesh.Trimesh | None = None) -> bytes:
    mesh = mesh or ball()
    points, triangles = len(mesh.vertices), len(mesh.faces)
    offsets = np.arange(0, 3 * triangles + 1, 3).astype(">i8").tobytes()
    return (
        f"# vtk DataFile Version 5.1\nhead\nBINARY\nDATASET POLYDATA\nPOINTS {points} float\n".encode()
        + mesh.vertices.astype(">f4").tobytes()
        + f"\nPOLYGONS {triangles + 1} {3 * triangles}\nOFFSETS vtktypeint64\n".encode()
        + offsets
        + b"\nCONNECTIVITY vtktypeint64\n"
        + mesh.faces.astype(">i8").tobytes()
        + b"\n"
    )


def vtk_grid(mesh: trimesh.Trimesh | None = None) -> bytes:
    """An unstructured grid with one tetrahedron and one line beside the surface."""
    mesh = mesh or ball()
    points, triangles = len(mesh.vertices), len(mesh.faces)
    cells = text_rows(mesh.faces, "3 ") + "4 0 1 2 3\n2 0 1\n"
    kinds = "5\n" * triangles + "10\n3\n"
    return (
        f"# vtk DataFile Version 2.0\nhead\nASCII\nDATASET UNSTRUCTURED_GRID\nPOINTS {points} float\n"
        f"{text_rows(mesh.vertices)}CELLS {triangles + 2} {4 * triangles + 8}\n{cells}"
        f"CELL_TYPES {triangles + 2}\n{kinds}"
    ).encode()


def vtp(how: str, mesh: trimesh.Trimesh | None = None, blank: bool = False) -> bytes:
    """PolyData; `blank`: with arrays of strips that hold spaces alone, as VTK writes them as text."""
    mesh = mesh or ball()
    points, triangles = len(mesh.vertices), len(mesh.faces)
    arrays = [
        ("Points", "", "Float32", mesh.vertices.astype("<f4")),
        ("Polys", "connectivity", "Int64", mesh.faces.astype("<i8")),
        ("Polys", "offsets", "Int32", np.arange(3, 3 * triangles + 1, 3).astype("<i4")),
    ]
    appended, sections = b"", {"Points": "", "Polys": ""}

    def compressed(data: bytes) -> tuple[bytes, bytes]:
        blocks = [data[k : k + 4096] for k in range(0, len(data), 4096)]
        packed = [zlib.compress(block) for block in blocks]
        head = struct.pack(f"<{3 + len(packed)}I", len(packed), 4096, len(blocks[-1]), *map(len, packed))
        return head, b"".join(packed)

    for section, name, kind, values in arrays:
        data = values.tobytes()
        content, form, offset = "", "binary", ""
        if how == "ascii":
            content, form = " ".join(map(str, values.reshape(-1).tolist())), "ascii"
        elif how == "binary":
            content = base64.b64encode(struct.pack("<I", len(data)) + data).decode()
        elif how == "zlib":
            content = "".join(base64.b64encode(part).decode() for part in compressed(data))
        else:
            form, offset = "appended", f' offset="{len(appended)}"'
            appended += struct.pack("<I", len(data)) + data if how == "raw" else b"".join(compressed(data))
        columns = ' NumberOfComponents="3"' if section == "Points" else ""
        head = f'<DataArray type="{kind}" Name="{name}"{columns} format="{form}"{offset}>'
        sections[section] += head + content + "</DataArray>"
    if blank:
        spaces = '<DataArray type="Int64" Name="{}" format="ascii">\n        </DataArray>'
        sections["Polys"] += (
            f"</Polys><Strips>{spaces.format('connectivity')}{spaces.format('offsets')}</Strips><Polys>"
        )
    compressor = ' compressor="vtkZLibDataCompressor"' if how in ("zlib", "rawzlib") else ""
    text = (
        f'<?xml version="1.0"?><VTKFile type="PolyData" version="0.1" byte_order="LittleEndian"{compressor}><PolyData>'
        f'<Piece NumberOfPoints="{points}" NumberOfPolys="{triangles}"><PointData><DataArray type="String" Name="x" '
        f'format="ascii">a b</DataArray></PointData><Points>{sections["Points"]}</Points><Polys>{sections["Polys"]}'
        "</Polys></Piece></PolyData>"
    ).encode()
    if appended:
        text += b'<AppendedData encoding="raw">\n_' + appended + b"\n</AppendedData>"
    return text + b"</VTKFile>"


def wrl(version: int, mesh: trimesh.Trimesh | None = None) -> bytes:
    mesh = mesh or ball()
    points = ",\n".join(" ".join(map(str, row)) for row in mesh.vertices.tolist())
    index = ", ".join(f"{a}, {b}, {c}, -1" for a, b, c in mesh.faces.tolist())
    if version == 1:
        return (
            f"#VRML V1.0 ascii\nSeparator {{ Material {{ diffuseColor 1 1 1 }}\nCoordinate3 {{ point [ {points} ] }}\n"
            f"IndexedFaceSet {{ coordIndex [ {index} ] }} }}\n"
        ).encode()
    return (
        "#VRML V2.0 utf8\nDEF Head Transform { translation 500 0 0 children [ Shape {\nappearance Appearance { texture "
        'ImageTexture { url "face {.jpg" } }\n'
        f"geometry IndexedFaceSet {{ solid FALSE coord DEF P Coordinate {{ point [ {points} ] }} # a comment }}\n"
        f"coordIndex [ {index} ] texCoordIndex [ {index} ] }} }} ] }}\n"
    ).encode()


def dae(kind: str = "triangles", scene: bool = True, before: str = "", mesh: trimesh.Trimesh | None = None) -> bytes:
    mesh = mesh or ball()
    points, triangles = len(mesh.vertices), len(mesh.faces)
    places = " ".join(map(str, mesh.vertices.reshape(-1).tolist()))
    corners = " ".join(f"{k} 0" for k in mesh.faces.reshape(-1).tolist())
    vcount = f"<vcount>{'3 ' * triangles}</vcount>" if kind == "polylist" else ""
    visual = (
        '<library_visual_scenes><visual_scene id="s"><node id="n"><matrix>0 -1 0 500 1 0 0 0 0 0 1 0 0 0 0 1</matrix>'
        '<rotate>0 0 1 -90</rotate><instance_geometry url="#g"/></node></visual_scene></library_visual_scenes>'
    )
    return (
        f'<?xml version="1.0"?>{before}<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">'
        f'<library_geometries><geometry id="g"><mesh><source id="p"><float_array id="pa" count="{3 * points}">{places}'
        f'</float_array><technique_common><accessor source="#pa" count="{points}" stride="3"/></technique_common>'
        "</source>"
        '<source id="t"><float_array id="ta" count="2">0 x</float_array></source>'
        '<vertices id="v"><input semantic="POSITION" source="#p"/></vertices>'
        f'<{kind} count="{triangles}"><input semantic="VERTEX" source="#v" offset="0"/>'
        f'<input semantic="TEXCOORD" source="#t" offset="1"/>{vcount}<p>{corners}</p></{kind}></mesh></geometry>'
        f"</library_geometries>{visual if scene else ''}</COLLADA>"
    ).encode()


def points_text(
    separator: str = " ",
    columns: str = "",
    first: str = "",
    comma: bool = False,
    mesh: trimesh.Trimesh | None = None,
) -> bytes:
    rows = [separator.join(map(str, row)) + columns for row in ((mesh or ball()).vertices + 0.125).tolist()]
    text = first + "\n".join(rows) + "\n"
    return (text.replace(".", ",") if comma else text).encode()


def lzf(data: bytes) -> bytes:
    """A stream of LZF: a run of equal bytes as one copy, all else as it is."""
    out, at = b"", 0
    while at < len(data):
        run = 1
        while at + run < len(data) and run < 260 and data[at + run] == data[at]:
            run += 1
        if run > 10:
            out += b"\0" + data[at : at + 1]
            length = run - 1 - 2
            out += bytes([(min(length, 7) << 5)]) + (bytes([length - 7]) if length >= 7 else b"") + b"\0"
        else:
            run = min(32, len(data) - at)
            out += bytes([run - 1]) + data[at : at + run]
        at += run
    return out


def pcd(encoding: str, mesh: trimesh.Trimesh | None = None) -> bytes:
    mesh = mesh or ball()
    points = np.vstack([np.full((358, 3), np.nan), mesh.vertices]).astype("<f4")
    header = (
        "# .PCD v0.7\nVERSION 0.7\nFIELDS rgb x y z\nSIZE 1 4 4 4\nTYPE U F F F\nCOUNT 3 1 1 1\n"
        f"WIDTH {len(points)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(points)}\nDATA {encoding}\n"
    ).encode()
    if encoding == "ascii":
        return header + text_rows(points, "9 9 9 ").encode()
    if encoding == "binary":
        rows = np.zeros(len(points), dtype=[("rgb", "u1", 3), ("p", "<f4", 3)])
        rows["p"] = points
        return header + rows.tobytes()
    plain = bytes(3 * len(points)) + points.T.tobytes()
    packed = lzf(plain)
    return header + struct.pack("<II", len(packed), len(plain)) + packed


def usd_mesh(mesh: trimesh.Trimesh, more: str = "", name: str = "m") -> str:
    points = ", ".join(str(tuple(row)) for row in mesh.vertices.tolist())
    counts = ", ".join("3" for _ in mesh.faces)
    corners = ", ".join(map(str, mesh.faces.reshape(-1).tolist()))
    return (
        f'def Mesh "{name}"\n{{\n{more}\npoint3f[] points = [{points}]\nint[] faceVertexCounts = [{counts}]\n'
        f"int[] faceVertexIndices = [{corners}]\n}}\n"
    )


def usda(outer: str = "", inner: str = "", beside: str = "", mesh: trimesh.Trimesh | None = None) -> bytes:
    """A mesh inside an xform; properties of both, and prims beside the mesh."""
    inside = usd_mesh(mesh or ball(), inner)
    return f'#usda 1.0\n(\nupAxis = "Y"\n)\ndef Xform "head"\n{{\n{outer}\n{inside}{beside}}}\n'.encode()


def usdc(text: bytes) -> bytes:
    """A layer of text in binary."""
    layer = Sdf.Layer.CreateAnonymous(".usda")
    layer.ImportFromString(text.decode())
    with tempfile.TemporaryDirectory() as folder:
        layer.Export(f"{folder}/a.usdc")
        return Path(f"{folder}/a.usdc").read_bytes()


def usdz(name: str, layer: bytes) -> bytes:
    """A package: an archive of what is not compressed."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(name, layer)
    return out.getvalue()
