"""What a file really is, from its first bytes, so that a refusal can name the true cause."""

from __future__ import annotations

import re

from imhead.errors import InputError

_WEB_PAGE = re.compile(rb"<!doctype\s+html|<html\b|<head\b|<body\b|<script\b", re.I)
_LFS_POINTER = re.compile(rb"version https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/")
_ANNEX_POINTER = re.compile(rb"(?:\.\./)*(?:\.git/annex/|/annex/objects/)")
_ANSWER = re.compile(rb"\s*[{\[]")

_BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (b"PK\x03\x04", "a ZIP archive", "rename it to .zip, or unpack it first"),
    (b"PK\x05\x06", "an empty ZIP archive", "download it again"),
    (b"\x1f\x8b", "compressed with gzip", "unpack it first (gunzip)"),
    (b"BZh", "compressed with bzip2", "unpack it first"),
    (b"\xfd7zXZ\x00", "compressed with xz", "unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"),
    (b"Rar!\x1a\x07", "a RAR archive", "unpack it first"),
    (b"%PDF-", "a PDF document", "export the scan itself"),
    (b"\x89PNG\r\n", "a PNG picture", "export the scan itself"),
    (b"\xff\xd8\xff", "a JPEG picture", "export the scan itself"),
    (b"Kaydara FBX Binary", "an FBX file", "convert it to PLY, OBJ, STL or GLB"),
    (b"BLENDER", "a Blender project", "export the scan from Blender as PLY, OBJ, STL or GLB"),
    (b"PXR-USDC", "a USD file in binary", "rename it to .usdc"),
    (b"\x00\x05\x16\x07", "what macOS keeps beside a file, not the file", "take the file without '._' in its name"),
    (b"\x7fELF", "a program", "choose the scan itself"),
    (b"MZ\x90\x00", "a program", "choose the scan itself"),
)
_SCANS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"(?:\xef\xbb\xbf)?ply[ \t]*[\r\n]"), ".ply"),
    (re.compile(rb"glTF[\x01\x02]\x00\x00\x00"), ".glb"),
    (re.compile(rb"#VRML "), ".wrl"),
    (re.compile(rb"# vtk DataFile "), ".vtk"),
    (re.compile(rb"# \.PCD "), ".pcd"),
    (re.compile(rb"#usda 1"), ".usda"),
)
_OF_ZIP = (".zip", ".3mf", ".usdz")
_OF_USD = (".usda", ".usdc", ".usd")  # each may hold text or binary


def check_kind(data: bytes, suffix: str, label: str) -> None:
    """Refuse a file that is plainly something other than its extension says.

    Args:
        data: the file.
        suffix: its extension, lower case, with the dot.
        label: the file, for messages.

    Raises:
        InputError: a web page, a pointer of Git LFS, an archive, a picture, another scan format, …; one line.
    """
    start = data[:2048]
    for beginning, what, remedy in _BEGINNINGS:
        known = suffix in _OF_ZIP if beginning.startswith(b"PK") else suffix in _OF_USD and beginning == b"PXR-USDC"
        if start.startswith(beginning) and not known:
            raise InputError(f"{label}: is {what}, not a {suffix} file; {remedy}")
    for pattern, other in _SCANS:
        if pattern.match(start) and suffix != other and not (suffix in _OF_USD and other in _OF_USD):
            raise InputError(f"{label}: is a {other} file under another name; rename it to {other}")
    if not start.strip(b"\x00"):
        raise InputError(f"{label}: begins with nothing but zeros, a copy or download was interrupted; copy it again")
    if _is_utf16(start):
        raise InputError(f"{label}: is text in UTF-16; save it as UTF-8, or export it again")
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"<") and _WEB_PAGE.search(text):
        raise InputError(f"{label}: is a web page, not a scan; download the file itself, perhaps after logging in")
    if _LFS_POINTER.match(text):
        raise InputError(
            f"{label}: is only a Git LFS pointer to the scan; run git lfs pull, or download the file itself"
        )
    if _ANNEX_POINTER.match(text) and len(data) < 4096:
        raise InputError(f"{label}: is only a git-annex pointer to the scan; run git annex get")
    if suffix not in (".gltf", ".pts") and text.startswith(b"{") and _ANSWER.match(text) and b'"' in text[:200]:
        raise InputError(f"{label}: is a JSON text, such as a server's error message, not a scan; download it again")
    if suffix not in (".dae", ".vtp", ".3mf") and text.startswith(b"<?xml"):
        raise InputError(f"{label}: is an XML text, such as a server's error message, not a scan; download it again")


def _is_utf16(start: bytes) -> bool:
    """Whether every second byte is zero after a byte order mark of UTF-16."""
    even, odd = start[2:34:2], start[3:35:2]
    return (start[:2] == b"\xff\xfe" and all(even) and not any(odd)) or (
        start[:2] == b"\xfe\xff" and all(odd) and not any(even)
    )
