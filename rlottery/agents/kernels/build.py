"""Compiles the kernels into `_kernels.so`, and records how that went: ``python -m rlottery.agents.kernels.build``

The build hook of the wheel loads this file by its path, so it needs the standard library alone.
"""

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = HERE / "csrc"
LIBRARY = HERE / "_kernels.so"
RECORD = HERE / "_kernels.json"

OLDEST_JAXLIB = "0.10.2"
"""The oldest jaxlib that is supported, whose headers give a library that newer ones take too; pyproject.toml's
`build-system.requires` has the same one."""

COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-ffp-contract=fast", "-fno-math-errno")
VECTOR_FLAGS = {
    "avx512": (
        *("-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq"),
        *("-mfma", "-mprefer-vector-width=512"),
    ),
    "avx2": ("-mavx2", "-mfma"),
}
"""Instruction sets of x86-64 that have a file of their own, and the flags for it alone. Which is used is chosen where
the library runs, so it runs on processors that lack them."""

SECONDS = 600
"""Longest that one run of the compiler may take."""
FIRST_LINES = 8
"""How much of a compiler's complaint is kept."""


@dataclass(frozen=True)
class Record:
    """How a build went.

    Attributes:
        outcome: "built" or "failed".
        reason: why it failed, in words; "" if it did not.
        said: the compiler's first lines about that.
        compiler: the command that compiled.
        compiler_version: the first line of what it says of itself.
        headers: the version of the jaxlib whose headers were used.
        instruction_sets: those in the library, best first.
        machine: what it was compiled for.
        sources: `digest` of what it was compiled from.
    """

    outcome: str
    reason: str = ""
    said: tuple[str, ...] = ()
    compiler: str = ""
    compiler_version: str = ""
    headers: str = ""
    instruction_sets: tuple[str, ...] = ()
    machine: str = ""
    sources: str = ""

    @property
    def built(self) -> bool:
        return self.outcome == "built"


@dataclass(frozen=True)
class Headers:
    """XLA's headers, as a jaxlib ships them."""

    folder: Path
    version: str


class BuildError(Exception):
    """Why there is no library, in words; `said` has the compiler's own."""

    def __init__(self, reason: str, said: str = ""):
        super().__init__(reason)
        self.said = tuple(said.strip().splitlines()[:FIRST_LINES])


def build(
    sources: Path = SOURCES, library: Path = LIBRARY, record: Path = RECORD, headers: Headers | None = None
) -> Record:
    """Compile the kernels and write the record. A failure is recorded, and leaves no library behind.

    Args:
        headers: those of the jaxlib that can be imported, if None.

    Raises:
        OSError: the record can't be written.
    """
    made = Record("failed", machine=f"{platform.system()} {platform.machine()}")
    try:
        made = replace(made, sources=digest(sources))
        compiler, version = find_compiler()
        made = replace(made, compiler=shlex.join(compiler), compiler_version=version)
        headers = headers or installed_headers()
        made = replace(made, headers=headers.version)
        vectors = [name for name in VECTOR_FLAGS if _takes(compiler, VECTOR_FLAGS[name])]
        _compile(compiler, sources, vectors, headers, library)
        made = replace(made, outcome="built", instruction_sets=(*vectors, "portable"))
    except BuildError as error:
        made = replace(made, reason=str(error), said=error.said)
    except OSError as error:
        made = replace(made, reason=str(error))
    if not made.built:
        library.unlink(missing_ok=True)
    _write(record, lambda partial: partial.write_text(json.dumps(asdict(made), indent=2) + "\n"))
    return made


def read_record(path: Path = RECORD) -> Record | None:
    """How the last build went, or None if there was none that can be read."""
    try:
        told = json.loads(path.read_text())
        lists = {name: tuple(told[name]) for name in ("said", "instruction_sets")}
        return Record(**{**told, **lists})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def digest(sources: Path = SOURCES) -> str:
    """SHA-256 over the names and contents of the sources and over the flags.

    Raises:
        BuildError: there are none.
    """
    files = sorted(path for path in sources.glob("*") if path.suffix in (".cc", ".h"))
    if not files:
        raise BuildError(f"{sources} holds no sources")
    sha = hashlib.sha256(repr((FLAGS, VECTOR_FLAGS)).encode())
    for path in files:
        sha.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        sha.update(path.read_bytes())
    return sha.hexdigest()


def find_compiler() -> tuple[list[str], str]:
    """The first compiler that answers, as a command, and its version: $CXX, c++, g++, clang++.

    Raises:
        BuildError: there is none.
    """
    asked, said = [[name] for name in COMPILERS], ""
    with contextlib.suppress(ValueError):  # a quote that isn't closed
        asked.insert(0, shlex.split(os.environ.get("CXX", "")))
    for command in asked:
        if not command or shutil.which(command[0]) is None:
            continue
        result = _run([*command, "--version"])
        if result.returncode == 0 and result.stdout.strip():
            return command, result.stdout.strip().splitlines()[0]
        said = said or result.stderr
    raise BuildError(f"no C++ compiler was found ($CXX, {', '.join(COMPILERS)})", said)


def installed_headers() -> Headers:
    """Those of the jaxlib that can be imported.

    Raises:
        BuildError: there is none.
    """
    found = importlib.util.find_spec("jaxlib")
    if found is None or found.origin is None:
        raise BuildError("jaxlib is not installed, and so its headers are missing")
    folder = Path(found.origin).parent / "include"
    if not (folder / "xla" / "ffi" / "api" / "ffi.h").exists():
        raise BuildError(f"jaxlib has no headers in {folder}")
    return Headers(folder, importlib.metadata.version("jaxlib"))


def is_newer(version: str, other: str) -> bool:
    """Whether a version comes after another; what follows the numbers is not looked at."""
    return _numbers(version) > _numbers(other)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def _takes(compiler: Sequence[str], flags: Sequence[str]) -> bool:
    """Whether the compiler knows these flags for x86-64, on a machine of that kind."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    result = _run([*compiler, *flags, "-fsyntax-only", "-x", "c++", "-"], given="#include <immintrin.h>\n")
    return result.returncode == 0


def _compile(compiler: list[str], sources: Path, vectors: Sequence[str], headers: Headers, library: Path) -> None:
    has = [f"-DRLOTTERY_HAS_{name.upper()}" for name in vectors]
    flags: dict[str, Sequence[str]] = {name: VECTOR_FLAGS[name] for name in vectors}
    flags |= {"portable": (), "ffi": (*has, "-isystem", str(headers.folder))}
    with tempfile.TemporaryDirectory(prefix="rlottery-") as made:
        objects = [str(Path(made) / f"{name}.o") for name in flags]
        commands = [
            [*compiler, *FLAGS, *flags[name], "-c", f"{name}.cc", "-o", path]
            for name, path in zip(flags, objects, strict=True)
        ]
        with ThreadPoolExecutor(2) as pool:
            for name, result in zip(flags, pool.map(lambda command: _run(command, sources), commands), strict=True):
                if result.returncode != 0:
                    raise BuildError(f"{name}.cc can't be compiled", result.stderr)

        def link(partial: Path) -> None:
            result = _run([*compiler, "-shared", *objects, "-o", str(partial)])
            if result.returncode != 0:
                raise BuildError("the library can't be linked", result.stderr)

        _write(library, link)


def _write(path: Path, fill: Callable[[Path], object]) -> None:
    """Fill a file under another name, then put it in the place of `path`: others see the old one or the new one."""
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        fill(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _run(
    command: Sequence[str], folder: Path | None = None, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the compiler, its messages in English; one that hangs, or can't be started, has failed."""
    english = os.environ | {"LC_ALL": "C"}
    try:
        return subprocess.run(
            command, cwd=folder, input=given, env=english, capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no end within {SECONDS} seconds")
    except OSError as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def main() -> int:
    """Build for the JAX that is installed here, and say how it went."""
    try:
        headers = installed_headers()
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if is_newer(headers.version, OLDEST_JAXLIB) and (HERE.parents[2] / "hatch_build.py").exists():
        print(
            f"error: jaxlib {headers.version} is installed here, and a library built with its headers breaks older "
            f"ones. `uv sync --reinstall-package rlottery`, or `pip install --no-deps -e .` in the checkout, builds "
            f"with those of {OLDEST_JAXLIB}, in an environment of its own.",
            file=sys.stderr,
        )
        return 2
    began = time.monotonic()
    try:
        made = build(headers=headers)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not made.built:
        print("\n".join((f"error: {made.reason}", *made.said)), file=sys.stderr)
        return 1
    print(
        f"Built {LIBRARY} for {', '.join(made.instruction_sets)}, with {made.compiler} ({made.compiler_version}) and "
        f"the headers of jaxlib {made.headers}, in {time.monotonic() - began:.0f} seconds."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
