"""The library that wrote a file, in a process of its own, for what can't be read without executing it.

It runs only in a Python that the user has named (``--library-python``). What it executes has the rights of the user; a
process keeps its faults away from this one. It gets few environment variables, and neither input nor a terminal. Its
answer is an .npz file of arrays and texts, which is read as a stranger's.
"""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from rlottery.errors import ConfigError, ForeignFileError
from rlottery.interop import in_library
from rlottery.processes.children import END_SECONDS, ended_by
from rlottery.processes.descendants import MARK, end_families, new_mark
from rlottery.processes.stopping import at_end
from rlottery.safety.npz import read_npz
from rlottery.safety.regular_files import read_bytes

ALLOW = (
    "If you trust this file, let its library execute what is pickled there, in the Python that has the library: "
    "--library-python PYTHON"
)
"""The end of messages about files that can't be read without executing them."""
SECONDS = 600.0
"""How long the library may take."""
MOST_BYTES = 2**36
"""Of what it answers."""
_KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT")
"""Environment variables that the process gets. Others may hold tokens, or change what Python does."""
_OWN = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu", "PYTHONDONTWRITEBYTECODE": "1"}
_OTHER_PYTHON = "Name a Python in which this module is installed."
_TAIL = 4_096


class LibraryError(ForeignFileError):
    """The library that the user allows couldn't be run, or gave no answer that can be used."""


class Library:
    """The library of an agent, in the Python that the user allows.

    Args:
        python: a Python, such as that of a virtual environment; a name without a folder is looked up in PATH.

    Raises ConfigError if there is no such program.
    """

    def __init__(self, python: str | os.PathLike[str]):
        found = shutil.which(python)
        if found is None:
            raise ConfigError(
                f"--library-python {python}: there is no such program. Give the Python that has the agent's library, "
                "such as venv/bin/python."
            )
        # Not resolved: a virtual environment's Python is a link, and finds its packages by the link's own path.
        self.python = Path(found).absolute()

    def replay(self, file: Path) -> dict[str, Any]:
        """The attributes of a replay buffer: arrays, numbers and truth values. Raises LibraryError."""
        found = self._ask("replay", file)
        return {name: array.item() if array.ndim == 0 else array for name, array in found.items()}

    def settings(self, file: Path) -> dict[str, Any]:
        """The objects in an agent's settings, as `in_library.described` describes them. Raises LibraryError."""
        return _json(self._ask("settings", file), "settings")

    def initial(self, file: Path, algorithm: str) -> tuple[dict[str, np.ndarray], Mapping[str, str]]:
        """The weights of a new agent with an agent's seed and settings, and the versions of the packages that made it.

        Raises LibraryError.
        """
        found = self._ask("initial", file, algorithm.upper())
        versions = _json(found, "versions")
        return {name: of for name, of in found.items() if name != "versions"}, versions

    def _ask(self, what: str, file: Path, *more: str) -> dict[str, np.ndarray]:
        with tempfile.TemporaryDirectory(prefix="rlottery-") as folder:
            result = Path(folder) / "result.npz"
            script = Path(in_library.__file__).absolute()
            try:
                _run([str(self.python), "-I", str(script), what, str(file.absolute()), str(result), *more], folder)
                return read_npz(read_bytes(result, MOST_BYTES), MOST_BYTES)
            except LibraryError as error:
                fix = f" {_OTHER_PYTHON}" if "No module named" in str(error) else ""
                raise LibraryError(f"{self.python} couldn't read {file}: {error}.{fix}") from None
            except MemoryError:
                raise LibraryError(f"What {self.python} found in {file} needs more memory than there is.") from None
            except (OSError, ValueError) as error:
                why = getattr(error, "strerror", None) or error
                raise LibraryError(f"{self.python} gave no answer about {file} that can be read: {why}.") from None


def _run(command: list[str], folder: str) -> None:
    """Run a command to its end, in a folder. Raises LibraryError unless it ends well, and in time."""
    mark = new_mark()
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=folder,
        env={**kept, **_OWN, "HOME": folder, MARK: mark},
        start_new_session=True,
    )
    assert process.stderr is not None
    said = _Tail(process.stderr)
    with _ended(process, mark, folder):
        try:
            code = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            raise LibraryError(f"it took longer than {SECONDS:g} seconds") from None
    if code:
        raise LibraryError(said.last_line() or f"its process {ended_by(code)}")


class _Tail:
    """Reads a stream in a thread, as long as it lasts, and keeps its end."""

    def __init__(self, stream: IO[bytes]):
        self._stream, self._end = stream, b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._stream as stream:
            while some := os.read(stream.fileno(), _TAIL):
                self._end = (self._end + some)[-_TAIL:]

    def last_line(self) -> str:
        self._thread.join(END_SECONDS)
        lines = self._end.decode("utf-8", "replace").split("\n")
        return next((line.strip()[:300].rstrip(".") for line in reversed(lines) if line.strip()), "")


_running: list[tuple[subprocess.Popen[bytes], str, str]] = []


@contextlib.contextmanager
def _ended(process: "subprocess.Popen[bytes]", mark: str, folder: str) -> Iterator[None]:
    """Afterwards the process has ended, with everything that it has started."""
    entry = (process, mark, folder)
    _running.append(entry)
    try:
        yield
    finally:
        end_families([(process, mark)], END_SECONDS)
        process.wait()
        _running.remove(entry)


@at_end
def _end_all() -> None:
    end_families([(process, mark) for process, mark, _ in _running], END_SECONDS)
    for *_, folder in _running:
        shutil.rmtree(folder, ignore_errors=True)


def _json(found: Mapping[str, np.ndarray], name: str) -> dict[str, Any]:
    try:
        value = json.loads(str(found[name]))
    except (KeyError, ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise LibraryError(f"the library's answer has no {name}.")
    return value
