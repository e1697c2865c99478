"""What a file is, by how it begins: for messages about a file of another kind than the one that is needed."""

_BEGINNINGS = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"%PDF": "a PDF file",
    b"\x1f\x8b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
    b"PK": "a ZIP archive",
    b"\x93NUMPY": "an array of NumPy (.npy)",
    b"\x89HDF": "an HDF5 file",
    b"\x7fELF": "a program",
    b"\x80": "a pickle",
}

_LOOKED_AT = 4_096
"""Bytes at the beginning of a file that show whether it is text."""


def file_kind(content: bytes) -> str | None:
    """``a PNG image``: what a file with this content, or this beginning of one, is; None if that isn't known."""
    if not content:
        return "an empty file"
    if found := next((kind for begins, kind in _BEGINNINGS.items() if content.startswith(begins)), None):
        return found
    if content[8:9] == b"{" and int.from_bytes(content[:8], "little") < 2**32:
        return "a file of safetensors"
    return "a text file" if is_text(content) else None


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
