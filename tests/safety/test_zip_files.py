"""Archives whose directory lies about the size of what is in them."""

import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from rlottery.errors import RlotteryError
from rlottery.export.policy import read_policy
from rlottery.interop.sb3_archive import open_archive
from rlottery.interop.torch_file import read_torch
from rlottery.safety.npz import read_npz
from rlottery.safety.zip_files import checked_zip, read_entry

SIZE = 30_000_007


def forged(method: int, declared: int) -> bytes:
    """An archive of zeros, whose records of them say that they are another number."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr("archive/data.pkl", bytes(SIZE))
    true, said = (size.to_bytes(4, "little") for size in (SIZE, declared))
    assert stream.getvalue().count(true) == 2
    return stream.getvalue().replace(true, said)


READERS: dict[str, Callable[[bytes], object]] = {
    "npz": lambda data: read_npz(data, 100),
    "policy": lambda data: read_policy(io.BytesIO(data), Path("policy.npz")),
    "SB3": open_archive,
    "torch": read_torch,
}


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("reader", READERS)
def test_no_more_is_decompressed_than_is_declared(reader: str, method: int) -> None:
    data = forged(method, 10)
    tracemalloc.start()
    try:
        with pytest.raises((RlotteryError, ValueError)):
            READERS[reader](data)
        assert tracemalloc.get_traced_memory()[1] < SIZE / 10
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (forged(zipfile.ZIP_DEFLATED, 10), "CRC"),
        (forged(zipfile.ZIP_DEFLATED, SIZE + 1), "another size than it declares"),
        (forged(zipfile.ZIP_BZIP2, 10), "another method than deflate"),
        (forged(zipfile.ZIP_DEFLATED, SIZE).replace(b"\0" * 50, b"\7" * 50, 1), "invalid"),
    ],
)
def test_why_an_entry_is_refused(data: bytes, why: str) -> None:
    with checked_zip(io.BytesIO(data), 2**30) as archive, pytest.raises(zipfile.BadZipFile, match=why):
        read_entry(archive, archive.infolist()[0])


def test_a_version_that_is_not_known_is_refused() -> None:
    data = forged(zipfile.ZIP_DEFLATED, SIZE)
    place = data.index(b"PK\1\2") + 6
    with pytest.raises(zipfile.BadZipFile, match="version"):
        checked_zip(io.BytesIO(data[:place] + b"\xff" + data[place + 1 :]), 2**30)
