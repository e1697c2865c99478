"""What a file is, by how it begins: for messages about a file of another kind than the one that is needed."""

import re

_BEGINNINGS = {
    rb"\x89PNG": "a PNG image",
    rb"\xff\xd8\xff": "a JPEG image",
    rb"GIF8": "a GIF image",
    rb"%PDF": "a PDF file",
    rb"\x1f\x8b": "a gzip file",
    rb"BZh[1-9]1AY&SY": "a bzip2 file",
    rb"\xfd7zXZ": "an xz file",
    rb"\x28\xb5\x2f\xfd": "a Zstandard file",
    rb"PK(\x03\x04|\x05\x06)": "a ZIP archive",
    rb"\x93NUMPY": "an array of NumPy (.npy)",
    rb"\x89HDF": "an HDF5 file",
    rb"\x7fELF": "a program",
    rb"\x80[\x02-\x05]": "a pickle",
}
"""Regular expressions for how files of each kind begin, long enough that texts don't match."""

_LOOKED_AT = 4_096
"""Bytes at the beginning of a file that show whether it is text."""


def file_kind(content: bytes) -> str | None:
    """``a PNG image``: what a file with this content, or this beginning of one, is; None if that isn't known."""
    if not content:
        return "an empty file"
    if is_safetensors(content):  # before all others: it begins with a length, whose bytes may be those of a pickle
        return "a file of safetensors"
    if found := next((kind for begins, kind in _BEGINNINGS.items() if re.match(begins, content)), None):
        return found
    return "a text file" if is_text(content) else None


def is_safetensors(content: bytes) -> bool:
    """Whether a file begins as those of safetensors do: with the length of a header, and the header's brace."""
    return content[8:9] == b"{" and int.from_bytes(content[:8], "little") < 2**32


def is_text(content: bytes) -> bool:
    """Whether a file seems to hold text."""
    start = content[:_LOOKED_AT]
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError as error:
        cut = len(start) == _LOOKED_AT and error.start > _LOOKED_AT - 4  # in the middle of a letter
        text = start[: error.start].decode("utf-8") if cut else "\0"
    has_others = any(character < " " and not character.isspace() for character in text)
    return bool(text.strip()) and not has_others
