"""Standard output and error that don't end a command, whatever the terminal, the pipe or the disk behind them does.

A study's work must not depend on who reads what it prints: the reader may have gone (`| head -1`), the disk may be
full, the descriptor closed, and the terminal may know ASCII only.
"""

import codecs
import contextlib
import errno
import io
import os
import select
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any, TextIO, cast

_READERS_GONE = (errno.EPIPE, errno.EIO)
"""Errors that say that nobody reads any more: the reader of a pipe has ended, or the terminal was closed."""
_PLAIN = dict(zip("━╌─│−–—×·•‘’“”", "=--|---x.*''\"\"", strict=True)) | {"≤": "<=", "≥": ">=", "±": "+-", "→": "->"}  # noqa: RUF001
"""ASCII for what has no decomposition of its own, as "…" and "é" have."""


class Streams:
    """What became of standard output.

    Attributes:
        fault: the error that it met first, or None. Readers that have gone are no error.
        is_all: whether what is printed is all that the command gives. Others write files, which matter more.
    """

    fault: OSError | None = None
    is_all: bool = True


_current = [Streams()]


def work_is_in_files() -> None:
    """What this command prints is not all that it gives, so that a full disk behind it changes no exit code."""
    _current[-1].is_all = False


@contextlib.contextmanager
def lasting_streams() -> Iterator[Streams]:
    """Let standard output and error accept everything meanwhile: they lose what can't be written.

    Characters that the encoding lacks are replaced by similar ASCII ones. A full disk behind standard output is one
    line on standard error at the end. Streams that are no files, as in notebooks and tests, stay as they are.
    """
    _open_closed_ones()
    streams = Streams()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _lasting(before[0], streams), _lasting(before[1], Streams())
    _current.append(streams)
    try:
        yield streams
    finally:
        _current.remove(streams)
        _flush(sys.stdout)
        if streams.fault is not None:
            print(f"error: standard output can't be written: {streams.fault.strerror}.", file=sys.stderr)
        _flush(sys.stderr)
        sys.stdout, sys.stderr = before


def lasting(stream: TextIO) -> TextIO:
    """The stream of a file, such as a log, that accepts everything and loses what can't be written."""
    return cast(TextIO, _lasting(stream, Streams()))


def _open_closed_ones() -> None:
    """Open the null device in the place of closed standard descriptors, which another file would get otherwise."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)


class _Lossy(io.FileIO):
    """A file that accepts everything. It drops what can't be written, and everything once nobody reads any more."""

    def __init__(self, descriptor: int, streams: Streams):
        super().__init__(descriptor, "w", closefd=False)
        self._streams, self._lost = streams, False

    def write(self, data: Any) -> int:
        if not self._lost:
            try:
                while (written := super().write(data)) is None:  # a pipe that doesn't block, and is full
                    select.select([], [self], [])
            except OSError as error:
                self._lost = error.errno in _READERS_GONE
                if not self._lost:  # a full disk may have room again later
                    self._streams.fault = self._streams.fault or error
            else:
                return written
        return len(memoryview(data).cast("B"))


def _lasting(stream: TextIO | None, streams: Streams) -> Any:
    if not isinstance(stream, io.TextIOWrapper) or isinstance(getattr(stream.buffer, "raw", None), _Lossy):
        return stream
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # in memory
        return stream
    _flush(stream)
    return io.TextIOWrapper(
        io.BufferedWriter(_Lossy(descriptor, streams)),
        encoding=stream.encoding,
        errors=_REPLACING,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _flush(stream: TextIO | None) -> None:
    with contextlib.suppress(OSError, ValueError):
        if stream is not None:  # its descriptor was closed when Python started
            stream.flush()


def _similar(error: UnicodeError) -> tuple[str | bytes, int]:
    """ASCII characters that look like those that can't be encoded; "?" for others. Bytes of file names stay bytes."""
    assert isinstance(error, UnicodeEncodeError)
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":
        return bytes([ord(character) - 0xDC00]), error.start + 1
    plain = _PLAIN.get(character) or unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain or "?", error.start + 1


_REPLACING = "rlottery-similar"
codecs.register_error(_REPLACING, _similar)
