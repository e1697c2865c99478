import bz2
import gzip
import io
import pickle
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from rlottery.safety.file_kind import file_kind


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("a", "b")
    return file.getvalue()


def tensors(header: int) -> bytes:
    """A file of safetensors whose header has that many bytes."""
    found = next(
        data
        for letters in range(header)
        if int.from_bytes((data := safetensors.numpy.save({"w" * letters: np.zeros(2)}))[:8], "little") == header
    )
    return found


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "an empty file"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a PNG image"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), "a gzip file"),
        (archive(), "a ZIP archive"),
        (npy(), "an array of NumPy (.npy)"),
        (pickle.dumps([1]), "a pickle"),
        (pickle.dumps([1], 2), "a pickle"),
        (bz2.compress(b"a,b\n1,2\n"), "a bzip2 file"),
        (safetensors.numpy.save({"w": np.zeros(2)}), "a file of safetensors"),
        (tensors(128), "a file of safetensors"),
        (tensors(640), "a file of safetensors"),
        (b"BZhan,score\n1,2\n", "a text file"),
        ("PK: d\u00e9j\u00e0\n".encode("latin-1"), None),
        ("task,arm\nPendulum,d\u00e9j\u00e0\n".encode(), "a text file"),
        (("a" + "\u00e9" * 4_000).encode(), "a text file"),
        ("d\u00e9j\u00e0".encode("latin-1"), None),
        (bytes(range(256)), None),
        (b" \n", None),
    ],
)
def test_kinds_of_files(content: bytes, kind: str | None) -> None:
    assert file_kind(content) == kind
