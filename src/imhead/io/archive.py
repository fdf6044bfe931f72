"""A scan in a ZIP archive: the one scan in it is read, with the files beside it; nothing is written to disk."""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from collections.abc import Callable, Collection
from urllib.parse import unquote

from imhead.errors import InputError
from imhead.io.raw_geometry import RawGeometry
from imhead.io.siblings import Beside, shown_name

_LARGEST_EXPANSION = 40
_FREE_BYTES = 1 << 20
_MOST_ENTRIES = 10_000
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Archive:
    """An open archive whose entries can be read as long as they stay in proportion to it."""

    def __init__(self, data: bytes, label: str) -> None:
        """Open an archive.

        Raises:
            InputError: not a ZIP archive, damaged, or of too many entries.
        """
        self.label = label
        # the directory is read whole by zipfile, so its size is looked at first
        if data.count(b"PK\x01\x02") > _MOST_ENTRIES:
            raise InputError(f"{label}: holds more than {_MOST_ENTRIES} files; pack the scan alone")
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError, LookupError, NotImplementedError, OSError):
            raise InputError(f"{label}: is no ZIP archive, or its end is missing; copy it again") from None
        self._left = _LARGEST_EXPANSION * len(data) + _FREE_BYTES
        # some programs of Windows write its own separator
        entries = ((entry.filename.replace("\\", "/"), entry) for entry in self._zip.infolist())
        self._entries = {name: entry for name, entry in entries if not name.endswith("/")}

    def names(self) -> list[str]:
        """The names of all entries that are files, but for what macOS adds."""
        return [n for n in self._entries if "__MACOSX" not in n and not posixpath.basename(n).startswith(".")]

    def read(self, name: str) -> bytes:
        """The bytes of an entry.

        Raises:
            InputError: no such entry, encrypted, packed in an unknown way, damaged, or far larger than the archive.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise InputError(f"{self.label}: refers to another file, {shown_name(name)}, which is not in it; pack both")
        if entry.flag_bits & 1:
            raise InputError(f"{self.label}: is encrypted; unpack it first")
        if entry.compress_type not in _METHODS:
            raise InputError(f"{self.label}: is packed in a way that is not read; pack it as an ordinary ZIP")
        if entry.file_size > self._left:
            raise InputError(
                f"{self.label}: {shown_name(name)} in it has {entry.file_size} bytes, far more than such an archive "
                "should hold; unpack it first"
            )
        try:
            with self._zip.open(entry) as stream:
                content = stream.read(entry.file_size + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, OSError):
            raise InputError(f"{self.label}: {shown_name(name)} in it is damaged; copy it again") from None
        self._left -= len(content)
        return content


def read_zip(
    data: bytes, label: str, extensions: Collection[str], read: Callable[[bytes, str, str, Beside], RawGeometry]
) -> RawGeometry:
    """The geometry of the one scan in an archive.

    Args:
        data: the archive.
        label: the archive, for messages.
        extensions: of the scans that are looked for.
        read: the reader: bytes, extension, label, files beside.

    Raises:
        InputError: no scan or several, encrypted, damaged, or far larger than the archive; one line.
    """
    archive = Archive(data, label)
    scans = [name for name in archive.names() if posixpath.splitext(name)[1].lower() in extensions]
    if not scans:
        raise InputError(f"{label}: holds no scan; pack one of {', '.join(sorted(extensions))}")
    if len(scans) > 1:
        shown = ", ".join(shown_name(posixpath.basename(name)) for name in scans[:3])
        raise InputError(f"{label}: holds {len(scans)} scans ({shown}, …); unpack it, or pack one of them alone")
    folder = posixpath.dirname(scans[0])

    def beside(name: str) -> bytes:
        return archive.read(posixpath.normpath(posixpath.join(folder, unquote(name))))

    inner = f"{label} ({shown_name(posixpath.basename(scans[0]))} in it)"
    return read(archive.read(scans[0]), posixpath.splitext(scans[0])[1].lower(), inner, beside)
