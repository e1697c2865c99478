"""Compiles the kernels into `_kernels.so` and records the outcome: ``python -m rlottery.agents.kernels.build``

The wheel's build hook loads this file by its path, so it uses only the standard library.
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
"""The oldest supported jaxlib. A library built with its headers also works with newer ones. The same version is in
`build-system.requires` of pyproject.toml."""

COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-ffp-contract=fast", "-fno-math-errno")
VECTOR_FLAGS = {
    "avx512": (*("-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq"), *("-mfma", "-mprefer-vector-width=512")),
    "avx2": ("-mavx2", "-mfma"),
}
"""Instruction sets of x86-64 that have their own source file -> the flags for that file. The library chooses one when
it runs, so it also works on processors without them."""

COMPILE_SECONDS = 600
"""Time limit for one run of the compiler."""
FIRST_LINES = 8
"""Lines of a compiler's error output that are kept."""


@dataclass(frozen=True)
class BuildRecord:
    """The outcome of a build.

    Attributes:
        outcome: "built" or "failed".
        compiler_output: the first lines of the compiler's errors.
        headers: version of the jaxlib whose headers were used.
        instruction_sets: those in the library, widest first.
        sources: `source_digest` of the sources.
    """

    outcome: str
    reason: str = ""
    compiler_output: tuple[str, ...] = ()
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
    """XLA's headers from a jaxlib."""

    folder: Path
    version: str


class BuildError(Exception):
    """The library can't be built. `compiler_output` has the compiler's errors, if there are any."""

    def __init__(self, reason: str, output: str = ""):
        super().__init__(reason)
        self.compiler_output = tuple(output.strip().splitlines()[:FIRST_LINES])


def build(
    sources: Path = SOURCES, library: Path = LIBRARY, record: Path = RECORD, headers: Headers | None = None
) -> BuildRecord:
    """Compile the kernels and write the record. A failure is recorded, and removes an old library.

    Args:
        headers: None for those of the installed jaxlib.

    Raises:
        OSError: the record can't be written.
    """
    made = BuildRecord("failed", machine=f"{platform.system()} {platform.machine()}")
    try:
        made = replace(made, sources=source_digest(sources))
        compiler, version = find_compiler()
        made = replace(made, compiler=shlex.join(compiler), compiler_version=version)
        headers = headers or installed_headers()
        made = replace(made, headers=headers.version)
        vectors = [name for name in VECTOR_FLAGS if _takes(compiler, VECTOR_FLAGS[name])]
        _compile(compiler, sources, vectors, headers, library)
        made = replace(made, outcome="built", instruction_sets=(*vectors, "portable"))
    except (BuildError, OSError) as error:
        made = replace(made, reason=str(error), compiler_output=getattr(error, "compiler_output", ()))
    if not made.built:
        library.unlink(missing_ok=True)
    _write(record, lambda partial: partial.write_text(json.dumps(asdict(made), indent=2) + "\n"))
    return made


def read_build_record(path: Path = RECORD) -> BuildRecord | None:
    """The outcome of the last build, or None if there is no readable record."""
    try:
        record = json.loads(path.read_text())
        lists = {name: tuple(record[name]) for name in ("compiler_output", "instruction_sets")}
        return BuildRecord(**{**record, **lists})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def source_digest(sources: Path = SOURCES) -> str:
    """SHA-256 of the names and contents of the sources, and of the flags.

    Raises:
        BuildError: there are none.
    """
    files = sorted(path for path in sources.glob("*") if path.suffix in (".cc", ".h"))
    if not files:
        raise BuildError(f"{sources} contains no sources")
    sha = hashlib.sha256(repr((FLAGS, VECTOR_FLAGS)).encode())
    for path in files:
        sha.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        sha.update(path.read_bytes())
    return sha.hexdigest()


def find_compiler() -> tuple[list[str], str]:
    """The command and version of the first compiler that runs: $CXX, c++, g++ or clang++."""
    candidates, output = [[name] for name in COMPILERS], ""
    with contextlib.suppress(ValueError):  # an unclosed quote
        candidates.insert(0, shlex.split(os.environ.get("CXX", "")))
    for command in candidates:
        if not command or shutil.which(command[0]) is None:
            continue
        result = _run([*command, "--version"])
        if result.returncode == 0 and result.stdout.strip():
            return command, result.stdout.strip().splitlines()[0]
        output = output or result.stderr
    raise BuildError(f"no C++ compiler was found ($CXX, {', '.join(COMPILERS)})", output)


def installed_headers() -> Headers:
    """The headers of the installed jaxlib."""
    found = importlib.util.find_spec("jaxlib")
    if found is None or found.origin is None:
        raise BuildError("jaxlib is not installed, so its headers are missing")
    folder = Path(found.origin).parent / "include"
    if not (folder / "xla" / "ffi" / "api" / "ffi.h").exists():
        raise BuildError(f"jaxlib has no headers in {folder}")
    return Headers(folder, importlib.metadata.version("jaxlib"))


def is_newer(version: str, other: str) -> bool:
    """Whether a version is newer than another, judged by their numbers only."""
    numbers, others = ([int(number) for number in re.findall(r"\d+", text)] for text in (version, other))
    return numbers > others


def _takes(compiler: Sequence[str], flags: Sequence[str]) -> bool:
    """Whether this is an x86-64 machine and the compiler knows these flags."""
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

        def compile_object(name: str, path: str) -> subprocess.CompletedProcess[str]:
            return _run([*compiler, *FLAGS, *flags[name], "-c", f"{name}.cc", "-o", path], sources)

        with ThreadPoolExecutor(2) as pool:
            for name, result in zip(flags, pool.map(compile_object, flags, objects), strict=True):
                if result.returncode != 0:
                    raise BuildError(f"{name}.cc can't be compiled", result.stderr)

        def link(partial: Path) -> None:
            result = _run([*compiler, "-shared", *objects, "-o", str(partial)])
            if result.returncode != 0:
                raise BuildError("the library can't be linked", result.stderr)

        _write(library, link)


def _write(path: Path, fill: Callable[[Path], object]) -> None:
    """Write a file under another name, then rename it to `path`: others see the old file or the complete new one."""
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        fill(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _run(
    command: Sequence[str], folder: Path | None = None, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the compiler with messages in English. One that hangs or can't be started counts as failed."""
    english = os.environ | {"LC_ALL": "C"}
    try:
        return subprocess.run(
            command,
            cwd=folder,
            input=given,
            env=english,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMPILE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"not finished after {COMPILE_SECONDS} seconds")
    except OSError as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def main() -> int:
    """Build for the installed JAX, and print the outcome."""
    began = time.monotonic()
    try:
        headers = installed_headers()
        if is_newer(headers.version, OLDEST_JAXLIB) and (HERE.parents[2] / "hatch_build.py").exists():
            print(
                f"error: a library built with the headers of the installed jaxlib {headers.version} breaks older "
                "versions of JAX. `uv sync --reinstall-package rlottery`, or `pip install --no-deps -e .` in the "
                f"checkout, builds with the headers of jaxlib {OLDEST_JAXLIB} in a separate environment.",
                file=sys.stderr,
            )
            return 2
        made = build(headers=headers)
    except (BuildError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not made.built:
        print("\n".join((f"error: {made.reason}", *made.compiler_output)), file=sys.stderr)
        return 1
    print(
        f"Built {LIBRARY} for {', '.join(made.instruction_sets)}, with {made.compiler} ({made.compiler_version}) and "
        f"the headers of jaxlib {made.headers}, in {time.monotonic() - began:.0f} seconds."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
