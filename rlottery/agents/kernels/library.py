"""Whether the compiled kernels can be used here, and if not, why, in words.

A library that doesn't fit (newer XLA headers than JAX's, another processor) can end the process that uses it or leave
JAX's CPU backend broken, so a child process tries it first (`probe`). What came of that is remembered
in the user's cache folder, for a study's workers. Nothing here imports JAX before `register`.
"""

import contextlib
import ctypes
import hashlib
import json
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rlottery.agents.kernels.build import HERE, LIBRARY, RECORD, BuildError, Record, digest, is_newer, read_record
from rlottery.errors import ConfigError, RlotteryError
from rlottery.storage.disk import file_digest, read_json, write_json

KERNELS_VERSION = 1
"""Of the calls between Python and the library; raised on both sides together (`rl_version` in ffi.cc)."""
VARIABLE = "RLOTTERY_KERNELS"
INSTRUCTION_SETS = ("avx512", "avx2", "portable")
OFF = "off"
TARGETS = {"rlottery_forward": "rl_forward", "rlottery_backward": "rl_backward"}
"""What JAX calls them, and their symbols in the library."""

PROBE_SECONDS = 120
REMEMBERED_BYTES = 2**16


@dataclass(frozen=True)
class Found:
    """What is known of the kernels.

    Attributes:
        instruction_set: the one in use, or "" if the kernels can't be used.
        why: why that one, or why none.
        mend: what to do about it; "" if there is nothing to mend.
    """

    instruction_set: str
    why: str
    mend: str = ""

    @property
    def usable(self) -> bool:
        return self.instruction_set != ""

    def __str__(self) -> str:
        return self.instruction_set or f"off ({self.why})"


@cache
def find() -> Found:
    """What `look` says, asked once in this process."""
    return look()


def look(folder: Path = HERE, *, fresh: bool = False) -> Found:
    """Whether the kernels in `folder` can be used by a process like this one.

    Args:
        fresh: try the library even if that was done before, and remember what comes of it.

    Raises:
        ConfigError: RLOTTERY_KERNELS has a value that it can't have.
    """
    asked = _asked()
    if asked == OFF:
        return Found("", f"{VARIABLE}={OFF} turns them off", f"unset {VARIABLE}")
    library, record = folder / LIBRARY.name, read_record(folder / RECORD.name)
    if why := _unfit(record, library):
        return Found("", why, _mend(record))
    try:
        told = _remembered(library, fresh)
    except OSError as error:
        told = _Told(fault=f"{library} can't be read: {error.strerror}")
    if told.fault:
        return Found("", told.fault, _mend(record))
    if asked and told.instruction_set != asked:
        why = f"{VARIABLE} asks for {asked}, which this processor or this library lacks ({told.instruction_set} works)"
        return Found("", why, f"unset {VARIABLE}")
    why = f"{VARIABLE} asks for it" if asked else "the widest that this processor and the library both have"
    return Found(told.instruction_set, why)


@cache
def register() -> ctypes.CDLL:
    """The library, loaded into this process and known to JAX, once.

    Raises:
        RlotteryError: the kernels can't be used.
    """
    found = find()
    if not found.usable:
        raise RlotteryError(f"The compiled kernels can't be used: {found.why}. {found.mend}")
    return load(LIBRARY)


def load(path: Path) -> ctypes.CDLL:
    """A library, loaded and known to JAX, whatever comes of it.

    Raises:
        OSError, AttributeError: it is no such library.
        RlotteryError: it is of another version.
    """
    library = ctypes.CDLL(str(path))
    library.rl_isa.restype = ctypes.c_char_p
    if (found := library.rl_version()) != KERNELS_VERSION:
        raise RlotteryError(f"the library has version {found}, and this rlottery needs {KERNELS_VERSION}")
    import jax

    for name, symbol in TARGETS.items():
        handler = jax.ffi.pycapsule(getattr(library, symbol))  # type: ignore[no-untyped-call]
        jax.ffi.register_ffi_target(name, handler, platform="cpu")
    return library


def build_command() -> str:
    """The shell command that rebuilds the kernels."""
    checkout = HERE.parents[2]
    if (checkout / "hatch_build.py").exists():
        if shutil.which("uv"):
            return "uv sync --reinstall-package rlottery"
        return f"{shlex.quote(sys.executable)} -m pip install --no-deps -e {shlex.quote(str(checkout))}"
    return f"{shlex.quote(sys.executable)} -m rlottery.agents.kernels.build"


def _mend(record: Record | None) -> str:
    first = (
        "install a C++ compiler (g++ or clang), then " if record and not record.built and not record.compiler else ""
    )
    return f"{first}run: {build_command()}"


def _asked() -> str:
    """The value of RLOTTERY_KERNELS; "" is none."""
    asked = os.environ.get(VARIABLE, "")
    if asked not in ("", OFF, *INSTRUCTION_SETS):
        raise ConfigError(f"{VARIABLE}={asked}: choose {OFF}, {', '.join(INSTRUCTION_SETS)}, or leave it unset.")
    return asked


def _unfit(record: Record | None, library: Path) -> str:
    """What can be said against the library without trying it; "" is nothing."""
    if record is None:
        return "they were not built here"
    if not record.built:
        return f"they could not be built: {record.reason}"
    if not library.exists():
        return f"{library} is gone"
    with contextlib.suppress(BuildError):  # without sources it can't differ from them
        if record.sources != digest():
            return "their sources have changed since they were built"
    jaxlib = _version_of("jaxlib")
    if is_newer(record.headers, jaxlib):
        return f"they were built with the headers of jaxlib {record.headers}, which jaxlib {jaxlib} can't take"
    return ""


@dataclass(frozen=True)
class _Told:
    """What the child process told: the instruction set that works, or what is wrong.

    `passing` faults may be gone at the next try, and are not remembered.
    """

    instruction_set: str = ""
    fault: str = ""
    passing: bool = False


def _remembered(library: Path, fresh: bool) -> _Told:
    """What came of trying this library with this JAX on this processor, from the cache folder or by trying it."""
    path = _cache_folder() / f"kernels-{_key(library)}.json"
    if not fresh:
        with contextlib.suppress(OSError, ValueError, TypeError):
            told = _Told(**read_json(path, REMEMBERED_BYTES))
            if told.instruction_set in INSTRUCTION_SETS or (told.fault and isinstance(told.fault, str)):
                return told
    told = _probe(library)
    if not told.passing:
        with contextlib.suppress(OSError):  # then it is tried each time
            write_json(path, asdict(told))
    return told


def _probe(library: Path) -> _Told:
    """Let a child process load the library, compute with it, and compare with NumPy."""
    environment: dict[str, str] = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "JAX_PLATFORMS": "cpu"}
    try:
        child = subprocess.run(
            [sys.executable, "-m", "rlottery.agents.kernels.probe", str(library)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            timeout=PROBE_SECONDS,
            start_new_session=True,  # an interrupt of this command says nothing of the library
        )
    except subprocess.TimeoutExpired:
        return _Told(fault=f"a process that tried them had not ended after {PROBE_SECONDS} seconds", passing=True)
    if child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        hint = ": this processor lacks instructions that they use" if name == "SIGILL" else ""
        told = f"a process that tried them was ended by {name}{hint}"
        return _Told(fault=told, passing=name not in ("SIGILL", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGABRT"))
    lines = (child.stdout if child.returncode == 0 else child.stderr).strip().splitlines()
    last = lines[-1] if lines else f"exit code {child.returncode}"
    if child.returncode != 0:
        return _Told(fault=f"a process that tried them failed: {last[:500]}", passing=True)
    told = json.loads(last)
    return _Told(told["instruction_set"], told["fault"])


def _key(library: Path) -> str:
    """Of all that the outcome depends on."""
    probe = file_digest(Path(__file__).with_name("probe.py"))
    parts: list[Any] = [file_digest(library), probe, KERNELS_VERSION, _version_of("jax"), _version_of("jaxlib")]
    return hashlib.sha256(json.dumps([*parts, _processor(), _asked()]).encode()).hexdigest()[:32]


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    """What this machine's processor can do, where the system tells; else which it is."""
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open() as lines:
        for line in lines:
            if line.startswith(("flags", "Features")):
                return line.partition(":")[2].strip()
    return f"{platform.machine()} {platform.processor()}"


def _cache_folder() -> Path:
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path(os.path.expanduser("~/.cache"))) / "rlottery"
