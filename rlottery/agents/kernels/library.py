"""Finds out whether the compiled kernels can be used here, and if not, why.

A library that doesn't fit (newer XLA headers than JAX's, another processor) can crash the process that uses it or break
JAX's CPU backend. So a child process tests it first (`probe`). The result is cached in the user's cache folder, for the
workers of a study. Nothing here imports JAX before `register`.
"""

import contextlib
import ctypes
import hashlib
import json
import os
import shlex
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from signal import SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV
from typing import Any

from rlottery.agents.kernels import build
from rlottery.errors import ConfigError, RlotteryError
from rlottery.processes.children import ChildError, call_in_child, ended_by
from rlottery.storage.disk import file_digest, read_json, write_json
from rlottery.storage.temporary_files import remove_leftovers
from rlottery.storage.user_cache import processor_features, user_cache_folder

KERNELS_VERSION = 3
"""Version of the order in which the kernels add numbers, on which the last bits of results depend. Manifests record it
since 3."""
CALLS_VERSION = 6
"""Version of the calls between Python and the library. Raise it on both sides together (`rl_version` in ffi.cc)."""
VARIABLE = "RLOTTERY_KERNELS"
PORTABLE = "portable"
INSTRUCTION_SETS = ("avx512", "avx2", PORTABLE)
OFF = "off"
TARGETS = {
    "rlottery_forward": "rl_forward",
    "rlottery_backward": "rl_backward",
    "rlottery_random_words": "rl_random_words",
    "rlottery_normals": "rl_normals",
    "rlottery_adam": "rl_adam",
}
"""Names of the functions in JAX -> their symbols in the library."""

PROBE_SECONDS = 120
CRASHES = (-SIGILL, -SIGSEGV, -SIGBUS, -SIGFPE, -SIGABRT)
"""Exit codes of a test whose library doesn't fit this machine. Others, such as that of SIGKILL, may not occur again."""
MAX_CACHED_BYTES = 2**16
_TESTED_BY = ("probe.py", "layout.py", "native.py", "random_numbers.py")
"""Files on which the result of a test depends."""


@dataclass(frozen=True)
class Found:
    """Whether the kernels can be used.

    Attributes:
        instruction_set: the one in use; "" if the kernels can't be used.
        why: the reason for this instruction set, or for using none.
        remedy: how to enable the kernels; "" if they can be used.
        uncached: why later processes have to test them again; "" if they don't.
    """

    instruction_set: str
    why: str
    remedy: str = ""
    uncached: str = ""

    @property
    def usable(self) -> bool:
        return self.instruction_set != ""

    def __str__(self) -> str:
        return f"{self.instruction_set} version {KERNELS_VERSION}" if self.usable else f"off ({self.why})"


@cache
def find() -> Found:
    """The result of `look`, computed once per process."""
    return look()


def look(folder: Path = build.HERE, *, fresh: bool = False) -> Found:
    """Whether the kernels in `folder` can be used by a process like this one.

    Args:
        fresh: test the library even if there is a cached result, and cache the new one.

    Raises:
        ConfigError: RLOTTERY_KERNELS has an invalid value.
    """
    wanted = _wanted()
    if wanted == OFF:
        return Found("", f"{VARIABLE}={OFF} turns them off", f"unset {VARIABLE}")
    library, record = folder / build.LIBRARY.name, build.read_build_record(folder / build.RECORD.name)
    if why := _why_unfit(record, library):
        return Found("", why, _remedy(record))
    uncached = ""
    try:
        result, uncached = _test_result(library, fresh)
    except OSError as error:
        result = _TestResult(fault=f"{library} can't be read: {error.strerror}")
    if result.fault:
        return Found("", result.fault, _remedy(record))
    if wanted and result.instruction_set != wanted:
        why = f"{VARIABLE} asks for {wanted}, which this processor or library lacks ({result.instruction_set} works)"
        return Found("", why, f"unset {VARIABLE}")
    why = f"{VARIABLE} asks for it" if wanted else "the widest that both this processor and the library support"
    return Found(result.instruction_set, why, uncached=uncached)


@cache
def register() -> ctypes.CDLL:
    """The library, loaded into this process and registered with JAX; done once.

    Raises:
        RlotteryError: the kernels can't be used.
    """
    found = find()
    if not found.usable:
        raise RlotteryError(f"The compiled kernels can't be used: {found.why}. To fix this, {found.remedy}")
    return load(build.LIBRARY)


_loaded: list[str] = []


def loaded_instruction_set() -> str:
    """The instruction set of the library that was loaded last; "" if none was."""
    return _loaded[-1] if _loaded else ""


def load(path: Path) -> ctypes.CDLL:
    """Load a library and register it with JAX, untested.

    Raises:
        OSError, AttributeError: it is not a library of kernels.
        RlotteryError: it has another version.
    """
    library = ctypes.CDLL(str(path))
    library.rl_isa.restype = ctypes.c_char_p
    if (found := library.rl_version()) != CALLS_VERSION:
        raise RlotteryError(f"the library has version {found}, but this rlottery needs {CALLS_VERSION}")
    import jax

    for name, symbol in TARGETS.items():
        handler = jax.ffi.pycapsule(getattr(library, symbol))  # type: ignore[no-untyped-call]
        jax.ffi.register_ffi_target(name, handler, platform="cpu")
    _loaded.append(library.rl_isa().decode())
    return library


def build_command() -> str:
    """The shell command that rebuilds the kernels."""
    checkout = build.HERE.parents[2]
    if (checkout / "hatch_build.py").exists():
        if shutil.which("uv"):
            return "uv sync --reinstall-package rlottery"
        return f"{shlex.quote(sys.executable)} -m pip install --no-deps -e {shlex.quote(str(checkout))}"
    return f"{shlex.quote(sys.executable)} -m rlottery.agents.kernels.build"


def _remedy(record: build.BuildRecord | None) -> str:
    no_compiler = record and not record.built and not record.compiler
    return f"{'install a C++ compiler (g++ or clang), then ' if no_compiler else ''}run: {build_command()}"


def _wanted() -> str:
    """The value of RLOTTERY_KERNELS; "" if it is not set."""
    wanted = os.environ.get(VARIABLE, "")
    if wanted not in ("", OFF, *INSTRUCTION_SETS):
        raise ConfigError(f"{VARIABLE}={wanted}: choose {OFF}, {', '.join(INSTRUCTION_SETS)}, or leave it unset.")
    return wanted


def _why_unfit(record: build.BuildRecord | None, library: Path) -> str:
    """Why the library can't be used, as far as is known without testing it; "" if no reason is known."""
    if record is None:
        return "they were not built here"
    if not record.built:
        return f"they could not be built: {record.reason}"
    if not library.exists():
        return f"{library} is missing"
    with contextlib.suppress(build.BuildError):  # there are no sources to compare with
        if record.sources != build.source_digest():
            return "their sources have changed since they were built"
    jaxlib = _version_of("jaxlib")
    if build.is_newer(record.headers, jaxlib):
        return f"they were built with the headers of jaxlib {record.headers}, newer than the installed jaxlib {jaxlib}"
    return ""


@dataclass(frozen=True)
class _TestResult:
    """The result of the child process: the instruction set that works, or what is wrong.

    Faults that are `passing` may not occur again, and are not cached.
    """

    instruction_set: str = ""
    fault: str = ""
    passing: bool = False


def _test_result(library: Path, fresh: bool) -> tuple[_TestResult, str]:
    """The result for this library, JAX and processor, from the cache folder or from a new test.

    Also why it could not be cached, or "".
    """
    path = user_cache_folder() / f"kernels-{_key(library)}.json"
    if not fresh:
        with contextlib.suppress(OSError, ValueError, TypeError):
            cached = _TestResult(**read_json(path, MAX_CACHED_BYTES))
            if cached.instruction_set in INSTRUCTION_SETS or (cached.fault and isinstance(cached.fault, str)):
                return cached, ""
    result = _test(library)
    if result.passing:
        return result, ""
    if not path.is_absolute():
        return result, "this user has no home folder"
    remove_leftovers([path.parent], time.time())
    try:
        write_json(path, asdict(result))
    except OSError as error:
        return result, f"{path.parent} can't be written: {error.strerror}"
    return result, ""


def _test(library: Path) -> _TestResult:
    """Let a child process load the library, compute with it, and compare the results with NumPy."""
    try:
        return _TestResult(*call_in_child(f"{__package__}.probe:result_for", str(library), seconds=PROBE_SECONDS))
    except (ChildError, OSError) as error:
        crashed = str(error).endswith(tuple(map(ended_by, CRASHES)))
        hint = ": this processor lacks instructions that they use" if str(error).endswith(ended_by(-SIGILL)) else ""
        return _TestResult(fault=f"the test of them failed: {error}{hint}", passing=not crashed)


def _key(library: Path) -> str:
    """A digest of everything that the result depends on."""
    tests = [file_digest(Path(__file__).with_name(name)) for name in _TESTED_BY]
    parts: list[Any] = [file_digest(library), *tests, CALLS_VERSION, _version_of("jax"), _version_of("jaxlib")]
    return hashlib.sha256(json.dumps([*parts, processor_features(), _wanted()]).encode()).hexdigest()[:32]


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
