"""Finding the kernels: faults are reported in sentences, and only affect the process that tries the kernels."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlottery.agents.kernels import library as finding
from rlottery.agents.kernels.build import LIBRARY, BuildRecord, source_digest
from rlottery.agents.kernels.library import KERNELS_VERSION, Found, look
from rlottery.errors import ConfigError
from tests.agents.kernels.builds import compile_library, copy_of_the_kernels, needs_compiler, write_record

EXPORTS = """
extern "C" __attribute__((visibility("default"))) int rl_version() { return VERSION; }
extern "C" __attribute__((visibility("default"))) const char* rl_isa() { return "portable"; }
"""
DIES = "#include <csignal>\n__attribute__((constructor)) static void die() { std::raise(SIGILL); }\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder; nothing is asked for by the variable."""
    monkeypatch.delenv("RLOTTERY_KERNELS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "rlottery"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a library is."""
    path = tmp_path / "sparse"
    path.mkdir()
    return path


def reason(folder: Path) -> str:
    """Why the kernels of a folder can't be used."""
    found = look(folder)
    assert not found.usable and found.remedy
    assert str(found) == f"off ({found.why})"
    return found.why


class TestLibrariesThatCannotBeUsed:
    def test_none_was_built(self, folder: Path) -> None:
        assert reason(folder) == "they were not built here"

    @pytest.mark.parametrize(("uv", "command"), [("/bin/uv", "uv sync --reinstall"), (None, " -m pip install ")])
    def test_building_failed(self, folder: Path, monkeypatch: pytest.MonkeyPatch, uv: str | None, command: str) -> None:
        monkeypatch.setattr("shutil.which", lambda name: uv)
        write_record(folder, BuildRecord("failed", reason="ffi.cc can't be compiled", compiler="g++"))
        assert reason(folder) == "they could not be built: ffi.cc can't be compiled"
        assert look(folder).remedy.startswith("run: ") and command in look(folder).remedy

    def test_without_a_compiler(self, folder: Path) -> None:
        write_record(folder, BuildRecord("failed", reason="no C++ compiler was found"))
        assert look(folder).remedy.startswith("install a C++ compiler (g++ or clang), then run: ")

    def test_it_is_gone(self, folder: Path) -> None:
        write_record(folder)
        assert reason(folder) == f"{folder / LIBRARY.name} is missing"

    def test_sources_have_changed(self, folder: Path) -> None:
        write_record(folder, BuildRecord("built", headers="0.10.2", sources="of others"))
        (folder / LIBRARY.name).write_bytes(b"")
        assert reason(folder) == "their sources have changed since they were built"

    def test_headers_newer_than_jaxlib(self, folder: Path) -> None:
        write_record(folder, BuildRecord("built", headers="99.0", sources=source_digest()))
        (folder / LIBRARY.name).write_bytes(b"")
        assert "the headers of jaxlib 99.0, newer than the installed" in reason(folder)

    def test_no_library(self, folder: Path) -> None:
        write_record(folder)
        (folder / LIBRARY.name).write_bytes(b"no library at all")
        assert f"{folder / LIBRARY.name} can't be loaded" in reason(folder)

    def test_a_folder_in_its_place(self, folder: Path) -> None:
        write_record(folder)
        (folder / LIBRARY.name).mkdir()
        assert "can't be read" in reason(folder)

    @needs_compiler
    def test_a_library_of_something_else(self, folder: Path) -> None:
        compile_library(folder, "int f() { return 1; }")
        assert "rl_isa" in reason(folder)

    @needs_compiler
    def test_another_version(self, folder: Path) -> None:
        compile_library(folder, EXPORTS.replace("VERSION", "99"))
        assert reason(folder) == "the library has version 99, but this rlottery needs 6"

    @needs_compiler
    def test_one_that_ends_the_process(self, folder: Path) -> None:
        compile_library(folder, DIES)
        assert "killed by SIGILL: this processor lacks instructions" in reason(folder)

    def test_wrong_numbers(self, folder: Path) -> None:
        copy_of_the_kernels(folder)
        code = (
            "import sys\nfrom rlottery.agents.kernels import probe\n"
            "right = probe.by_numpy\n"
            "probe.by_numpy = lambda *given: tuple(right(*given)[:2]) + (right(*given)[2] + 1,)\n"
            "print(*probe.result_for(sys.argv[1]))"
        )
        arguments = [sys.executable, "-c", code, str(folder / LIBRARY.name)]
        told = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=600).stdout
        assert "their results differ from NumPy's: gradient of the first inputs with relu, by up to 1" in told


class TestTheVariable:
    def test_turns_them_off(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RLOTTERY_KERNELS", "off")
        assert look(folder) == Found("", "RLOTTERY_KERNELS=off turns them off", "unset RLOTTERY_KERNELS")

    def test_what_it_cannot_be(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RLOTTERY_KERNELS", "fast")
        with pytest.raises(ConfigError, match="RLOTTERY_KERNELS=fast: choose off, avx512, avx2, portable"):
            look(folder)

    def test_chooses_the_portable_code(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        copy_of_the_kernels(folder)
        monkeypatch.setenv("RLOTTERY_KERNELS", "portable")
        assert look(folder) == Found("portable", "RLOTTERY_KERNELS asks for it")

    def test_asks_for_what_is_not_there(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / LIBRARY.name).write_bytes(b"")
        write_record(folder)
        monkeypatch.setenv("RLOTTERY_KERNELS", "avx512")
        monkeypatch.setattr(finding, "_test", lambda library: finding._TestResult("avx2"))
        assert "asks for avx512, which this processor or library lacks (avx2 works)" in reason(folder)


class TestWhatIsRemembered:
    @pytest.fixture
    def tries(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[finding._TestResult]:
        """What comes of each try, from the last to the first."""
        write_record(folder)
        (folder / LIBRARY.name).write_bytes(b"")
        told = [finding._TestResult("avx2")]
        monkeypatch.setattr(finding, "_test", lambda library: told.pop())
        return told

    def test_it_is_tried_once(self, folder: Path, tries: list[finding._TestResult]) -> None:
        assert look(folder) == look(folder)
        assert look(folder).instruction_set == "avx2"

    def test_a_fault_is_too(self, folder: Path, tries: list[finding._TestResult]) -> None:
        tries[:] = [finding._TestResult(fault="it is broken")]
        assert reason(folder) == reason(folder) == "it is broken"

    def test_but_not_one_that_passes(self, folder: Path, tries: list[finding._TestResult]) -> None:
        tries.append(finding._TestResult(fault="no memory", passing=True))
        assert reason(folder) == "no memory"
        assert look(folder).usable

    def test_a_fresh_look(self, folder: Path, tries: list[finding._TestResult]) -> None:
        tries.append(finding._TestResult(fault="it is broken"))
        assert not look(folder).usable
        assert look(folder, fresh=True).usable
        assert look(folder).usable

    def test_another_library_or_choice(
        self, folder: Path, tries: list[finding._TestResult], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tries[:] = [finding._TestResult("portable"), finding._TestResult("avx512"), finding._TestResult("avx2")]
        assert look(folder).instruction_set == "avx2"
        (folder / LIBRARY.name).write_bytes(b"another")
        assert look(folder).instruction_set == "avx512"
        monkeypatch.setenv("RLOTTERY_KERNELS", "portable")
        assert look(folder).instruction_set == "portable"

    @pytest.mark.parametrize(
        "content",
        [b"", b"\0", b"[1]", b"{}", b'{"fault": 3}', b'{"instruction_set": "mmx"}', b'{"mend": "rm"}', b"1" * 99999],
    )
    def test_a_damaged_file(self, folder: Path, cache: Path, tries: list[finding._TestResult], content: bytes) -> None:
        tries[:] = [finding._TestResult("portable"), finding._TestResult("avx2")]
        assert look(folder).instruction_set == "avx2"
        (remembered,) = cache.iterdir()
        remembered.write_bytes(content)
        assert look(folder).instruction_set == "portable"
        assert look(folder).instruction_set == "portable"

    def test_a_cache_that_cannot_be_written(
        self, folder: Path, tmp_path: Path, tries: list[finding._TestResult], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tries[:] = [finding._TestResult("portable"), finding._TestResult("avx2")]
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        found = [look(folder) for _ in range(2)]
        assert [each.instruction_set for each in found] == ["avx2", "portable"]
        assert {each.uncached for each in found} == {
            f"{tmp_path / 'file' / 'rlottery'} can't be written: Not a directory"
        }

    def test_a_user_without_a_home_folder_gets_no_folder_named_like_one(
        self, folder: Path, tmp_path: Path, tries: list[finding._TestResult], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr("os.path.expanduser", lambda path: path)
        monkeypatch.chdir(tmp_path)
        found = look(folder)
        assert (found.instruction_set, found.uncached) == ("avx2", "this user has no home folder")
        assert not Path("~").exists()


def test_the_kernels_that_are_built_here_work_and_who_looks_imports_no_jax(folder: Path) -> None:
    record = copy_of_the_kernels(folder)
    code = (
        "import sys\nfrom pathlib import Path\nfrom rlottery.agents.kernels.library import look\n"
        "print(look(Path(sys.argv[1])), sorted({'jax', 'jaxlib'} & set(sys.modules)))"
    )
    arguments = [sys.executable, "-c", code, str(folder)]
    told = subprocess.run(arguments, env=os.environ, capture_output=True, text=True, check=True, timeout=600).stdout
    assert told in [f"{name} version {KERNELS_VERSION} []\n" for name in record.instruction_sets]
