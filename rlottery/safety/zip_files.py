"""ZIP files of other people: what they declare is checked before anything is decompressed."""

import os
import zipfile
import zlib
from typing import BinaryIO

MOST_DIRECTORY_BYTES = 2**22
"""The largest directory that is read: some 40,000 files. Each takes several times its entry in memory."""

_END, _LOCATOR, _END_64 = 22, 20, 56
"""Bytes of the last record of a ZIP file, and of the two before it in files with 64-bit sizes."""


def checked_zip(file: BinaryIO, most_bytes: int) -> zipfile.ZipFile:
    """A ZIP file that is opened for reading.

    Args:
        most_bytes: the most bytes in all of its files together, decompressed.

    Raises ValueError or zipfile.BadZipFile: it is none, or it is larger.
    """
    if directory_bytes(file) > MOST_DIRECTORY_BYTES:
        raise ValueError(f"its directory has more than {MOST_DIRECTORY_BYTES:,} bytes")
    try:
        archive = zipfile.ZipFile(file)
    except NotImplementedError as error:
        raise zipfile.BadZipFile(str(error)) from None
    if sum(entry.file_size for entry in archive.infolist()) > most_bytes:
        raise ValueError(f"it has more than {most_bytes:,} bytes")
    return archive


def read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """The content of a file in a ZIP file. No more is decompressed than the directory declares.

    Raises zipfile.BadZipFile: it is damaged, encrypted, compressed by another method than deflate, or of another size.
    """
    # `zipfile` decompresses other methods, and all that `ZipFile.read` reads, without a limit.
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile(f"{entry.filename[:100]!r} is compressed by another method than deflate")
    try:
        with archive.open(entry) as file:
            content = file.read(entry.file_size + 1)
    except (EOFError, MemoryError, OSError, RuntimeError, ValueError, zlib.error) as error:
        raise zipfile.BadZipFile(str(error) or f"{entry.filename[:100]!r} can't be decompressed") from None
    if len(content) != entry.file_size:
        raise zipfile.BadZipFile(f"{entry.filename[:100]!r} has another size than it declares")
    return content


def directory_bytes(file: BinaryIO) -> int:
    """The size of a ZIP file's directory, as its last records say. Raises ValueError if there are none."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END - _LOCATOR - _END_64))
    tail = file.read()
    end = tail[-_END:]
    if len(end) < _END or not end.startswith(b"PK\5\6") or end[20:] != b"\0\0":
        raise ValueError("it has no directory of a ZIP file")
    declared = int.from_bytes(end[12:16], "little")
    if tail[-_END - _LOCATOR :].startswith(b"PK\6\7") and tail.startswith(b"PK\6\6"):
        return max(declared if declared != 0xFFFFFFFF else 0, int.from_bytes(tail[40:48], "little"))
    return declared
