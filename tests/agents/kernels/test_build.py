"""Building the kernels: where it works, where there is no compiler, where the compiler fails."""

import ctypes
import tomllib
from pathlib import Path

import pytest

from rlottery.agents.kernels import build as building
from rlottery.agents.kernels.build import (
    OLDEST_JAXLIB,
    BuildError,
    BuildRecord,
    Headers,
    build,
    is_newer,
    read_build_record,
    source_digest,
)
from tests.agents.kernels.builds import COMPILER, needs_compiler, write_compiler

ROOT = Path(__file__).parents[3]
UNIT = '#include <cstdint>\nextern "C" __attribute__((visibility("default"))) int {name}() {{ return {number}; }}\n'
FFI = '#include "xla/ffi/api/ffi.h"\nextern "C" __attribute__((visibility("default"))) int has() { return HAS; }\n'


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Files of the kernels' names that compile in a moment, headers too."""
    folder = tmp_path / "csrc"
    folder.mkdir()
    for number, name in enumerate(("avx512", "avx2", "portable")):
        (folder / f"{name}.cc").write_text(UNIT.format(name=name, number=number))
    sets = "".join(
        f"#ifdef RLOTTERY_HAS_{name}\n#define BIT_{name} {bit}\n#else\n#define BIT_{name} 0\n#endif\n"
        for name, bit in (("AVX512", 1), ("AVX2", 2))
    )
    (folder / "ffi.cc").write_text(f"{sets}#define HAS (BIT_AVX512 | BIT_AVX2)\n{FFI}")
    return folder


@pytest.fixture
def headers(tmp_path: Path) -> Headers:
    api = tmp_path / "include" / "xla" / "ffi" / "api"
    api.mkdir(parents=True)
    (api / "ffi.h").touch()
    return Headers(tmp_path / "include", "0.10.2")


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH but the system's shell, with no compiler in it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CXX", raising=False)
    return folder


def built(tmp_path: Path, sources: Path, headers: Headers) -> BuildRecord:
    """The record of a build, after it was read back from its file."""
    library, record = tmp_path / "_kernels.so", tmp_path / "_kernels.json"
    made = build(sources, library, record, headers)
    assert read_build_record(record) == made
    assert library.exists() == made.built
    assert not list(tmp_path.glob(".*"))
    return made


class TestWithoutACompiler:
    def test_the_record_says_so(self, tmp_path: Path, sources: Path, headers: Headers, bin_folder: Path) -> None:
        made = built(tmp_path, sources, headers)
        assert made.outcome == "failed"
        assert made.reason == "no C++ compiler was found ($CXX, c++, g++, clang++)"
        assert (made.compiler, made.instruction_sets) == ("", ())

    def test_a_library_of_before_goes(self, tmp_path: Path, sources: Path, headers: Headers, bin_folder: Path) -> None:
        (tmp_path / "_kernels.so").write_bytes(b"of other sources")
        assert not built(tmp_path, sources, headers).built

    @pytest.mark.parametrize("value", ["", "no-such-compiler -O1", 'c++ "'])
    def test_nor_is_there_one_by_the_variable(
        self,
        tmp_path: Path,
        sources: Path,
        headers: Headers,
        bin_folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        value: str,
    ) -> None:
        monkeypatch.setenv("CXX", value)
        assert "no C++ compiler" in built(tmp_path, sources, headers).reason


class TestACompilerThatFails:
    def test_its_first_lines_are_kept(self, tmp_path: Path, sources: Path, headers: Headers, bin_folder: Path) -> None:
        write_compiler(bin_folder, 'for i in 1 2 3 4 5 6 7 8 9; do echo "error: no room ($i)" >&2; done; exit 1')
        made = built(tmp_path, sources, headers)
        assert made.reason == "portable.cc can't be compiled"
        assert made.compiler_output == tuple(f"error: no room ({number})" for number in range(1, 9))
        assert (made.compiler, made.compiler_version) == ("c++", "c++ (test) 1.2.3")

    def test_one_that_does_not_even_answer(
        self, tmp_path: Path, sources: Path, headers: Headers, bin_folder: Path
    ) -> None:
        (bin_folder / "g++").write_text("#!/bin/sh\necho 'xcrun: error: no tools' >&2\nexit 1\n")
        (bin_folder / "g++").chmod(0o755)
        made = built(tmp_path, sources, headers)
        assert "no C++ compiler" in made.reason
        assert made.compiler_output == ("xcrun: error: no tools",)

    @needs_compiler
    def test_a_fault_in_the_sources(self, tmp_path: Path, sources: Path, headers: Headers) -> None:
        (sources / "ffi.cc").write_text("int f( {\n")
        made = built(tmp_path, sources, headers)
        assert made.reason == "ffi.cc can't be compiled"
        assert "ffi.cc:1" in "\n".join(made.compiler_output)

    @needs_compiler
    def test_a_fault_of_the_linker(self, tmp_path: Path, sources: Path, headers: Headers) -> None:
        (sources / "portable.cc").write_text(
            'extern "C" __attribute__((visibility("default"))) int has() { return 0; }'
        )
        made = built(tmp_path, sources, headers)
        assert made.reason == "the library can't be linked"
        assert "has" in "\n".join(made.compiler_output)


@needs_compiler
class TestACompilerThatWorks:
    def test_what_is_in_the_library(self, tmp_path: Path, sources: Path, headers: Headers) -> None:
        made = built(tmp_path, sources, headers)
        assert made.instruction_sets[-1] == "portable"
        assert (made.headers, made.sources) == ("0.10.2", source_digest(sources))
        assert made.compiler_version
        library = ctypes.CDLL(str(tmp_path / "_kernels.so"))
        assert library.has() == ("avx512" in made.instruction_sets) + 2 * ("avx2" in made.instruction_sets)
        assert library.portable() == 2

    def test_one_that_does_not_know_avx512(
        self, tmp_path: Path, sources: Path, headers: Headers, bin_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.undo()
        write_compiler(bin_folder, f'case "$*" in *-mavx512f*) exit 1;; esac\nexec {COMPILER} "$@"')
        monkeypatch.setenv("CXX", str(bin_folder / "c++"))
        made = built(tmp_path, sources, headers)
        assert made.built and "avx512" not in made.instruction_sets
        assert ctypes.CDLL(str(tmp_path / "_kernels.so")).has() & 1 == 0

    def test_another_machine_has_the_portable_code_alone(
        self, tmp_path: Path, sources: Path, headers: Headers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(building.platform, "machine", lambda: "aarch64")
        assert built(tmp_path, sources, headers).instruction_sets == ("portable",)

    def test_a_folder_that_cannot_be_written(self, sources: Path, headers: Headers) -> None:
        with pytest.raises(OSError):
            build(sources, sources / "portable.cc" / "_kernels.so", sources / "portable.cc" / "_kernels.json", headers)


def test_the_digest_follows_names_and_contents(sources: Path) -> None:
    digests = {source_digest(sources)}
    (sources / "portable.cc").write_text("// another")
    digests.add(source_digest(sources))
    (sources / "portable.cc").rename(sources / "other.cc")
    digests.add(source_digest(sources))
    (sources / "notes.txt").write_text("not compiled")
    digests.add(source_digest(sources))
    assert len(digests) == 3


def test_no_sources(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="contains no sources"):
        source_digest(tmp_path)


@pytest.mark.parametrize(
    "content", [None, "", "[]", "{}", '{"compiler_output": [], "instruction_sets": [], "outcome": "built", "x": 1}']
)
def test_a_record_that_is_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "record").write_text(content)
    assert read_build_record(tmp_path / "record") is None


@pytest.mark.parametrize(
    ("version", "other", "newer"),
    [("0.12.0.1", "0.10.2", True), ("0.10.2", "0.12", False), ("0.10.2", "0.10.2", False), ("0.9.0", "0.10.2", False)],
)
def test_which_version_is_newer(version: str, other: str, newer: bool) -> None:
    assert is_newer(version, other) == newer


def test_the_oldest_jaxlib_is_the_one_that_is_built_against() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert f"jaxlib=={OLDEST_JAXLIB}" in project["build-system"]["requires"]
    assert f"jax>={OLDEST_JAXLIB}" in project["project"]["dependencies"]


def test_by_hand_newer_headers_are_refused(
    headers: Headers, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(building, "installed_headers", lambda: Headers(headers.folder, "0.12.0.1"))
    assert building.main() == 2
    assert "uv sync --reinstall-package rlottery" in capsys.readouterr().err
