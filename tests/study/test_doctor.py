"""What the doctor says of a machine, and that nothing that is broken keeps it from saying the rest."""

import json
from collections.abc import Callable
from email.message import Message
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pytest
from typer.testing import CliRunner

from rlottery.agents.kernels.build import BuildRecord
from rlottery.agents.kernels.library import Found
from rlottery.cli import app
from rlottery.envs.renderers import Renderer
from rlottery.errors import ConfigError
from rlottery.processes.children import ChildError
from rlottery.study import doctor
from rlottery.study.doctor import (
    Finding,
    Severity,
    diagnose,
    doctor_page,
    doctor_record,
    what_is_missing,
)
from rlottery.study.execution.cores import CoreLimit
from rlottery.study.resources.memory import Available
from tests.study.studies import shown

PARTS = ["Kernels", "Machine", "Device", "Versions", "Extras", "Rendering"]


def answers(fault: str = "", **others: Any) -> Callable[..., tuple[Any, str]]:
    """What children answer on a sound machine without a GPU, but for `others` by function; or that all of them fail."""

    def answer(function: Callable[[], Any], device: str = "cpu") -> tuple[Any, str]:
        usual: dict[str, Any] = {"jax_devices": ["cpu", "TFRT_CPU_0"], "import_faults": {}}
        return (None, fault) if fault else ((usual | others)[function.__name__], "")

    return answer


@pytest.fixture(autouse=True)
def sound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which all is well; no process is started."""
    made = BuildRecord("built", compiler_version="g++ 12", headers="0.10.2", instruction_sets=("avx2", "portable"))
    monkeypatch.setattr(doctor, "look", lambda fresh: Found("avx2", "the widest"))
    monkeypatch.setattr(doctor, "read_build_record", lambda: made)
    monkeypatch.setattr(doctor, "_in_a_child", answers())
    monkeypatch.setattr(doctor, "has_jax_plugin", lambda: True)
    monkeypatch.setattr(doctor, "try_renderers", lambda seconds: [Renderer("egl")])
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)


def said(about: str) -> Finding:
    return next(finding for findings in diagnose().values() for finding in findings if finding.about == about)


def test_all_is_well() -> None:
    found = diagnose()
    assert list(found) == PARTS and not what_is_missing(found)
    assert {
        finding.about for findings in found.values() for finding in findings if finding.severity is Severity.NOTE
    } == {"device: cuda"}
    page = shown(doctor_page(found))
    for part in ("compiled kernels, avx2: the widest", "g++ 12, and the headers of jaxlib 0.10.2", "Studies can run"):
        assert part in page


def test_the_record_has_all_findings_and_no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/jane doe")
    monkeypatch.setattr(doctor, "build_command", lambda: "'/home/jane doe/env/bin/python' -m build")
    monkeypatch.setattr(doctor, "_in_a_child", answers(import_faults={"gymnasium": "ImportError: /data/lab/lib.so: x"}))
    found = diagnose()
    record = json.loads(json.dumps(doctor_record(found)))
    assert (record["format"], record["rlottery"], record["studies_can_run"]) == (1, version("rlottery"), False)
    assert [(one["part"], one["about"]) for one in record["findings"]] == [
        (part, finding.about) for part, findings in found.items() for finding in findings
    ]
    said = {one["about"]: (one["text"], one["severity"]) for one in record["findings"]}
    assert said["to build again"] == ("'~/env/bin/python' -m build", "hint")
    assert said["gymnasium"][0].endswith("can't be imported: ImportError: <folder>/lib.so: x")
    assert said["gymnasium"][1] == "missing" and said["cores"][1] == "ok"


def test_the_command_prints_json_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert (result.exit_code, json.loads(result.output)["studies_can_run"]) == (0, True)
    monkeypatch.setattr(doctor, "processor", lambda: 1 / 0)
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert (result.exit_code, json.loads(result.output)["studies_can_run"]) == (1, False)


class TestKernels:
    def test_without_them_studies_still_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        failed = BuildRecord(
            "failed", reason="portable.cc can't be compiled", compiler_output=("error: [bold]",), compiler="c++"
        )
        monkeypatch.setattr(doctor, "look", lambda fresh: Found("", "they could not be built", "run: uv sync"))
        monkeypatch.setattr(doctor, "read_build_record", lambda: failed)
        assert said("path").text.endswith("they could not be built")
        assert said("to fix this") == Finding("to fix this", "run: uv sync", Severity.NOTE)
        found = diagnose()
        assert not what_is_missing(found)
        assert "error: [bold]" in shown(doctor_page(found))

    def test_a_variable_that_no_study_would_take(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(fresh: bool) -> Found:
            raise ConfigError("RLOTTERY_KERNELS=fast: choose")

        monkeypatch.setattr(doctor, "look", refuse)
        assert said("Kernels") == Finding("Kernels", "RLOTTERY_KERNELS=fast: choose", Severity.MISSING)


def test_what_limits_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "usable_cores", lambda: CoreLimit(1, "/group/cpu.max allows 0.5 cores"))
    monkeypatch.setattr(doctor, "available_memory", lambda: Available(6e8, "what /group/memory.max leaves"))
    monkeypatch.setattr(doctor, "address_space", lambda: 1e9)
    assert said("cores").text.endswith("one per worker: /group/cpu.max allows 0.5 cores")
    assert said("memory").text == "600.0 MB (what /group/memory.max leaves)"
    assert said("ulimit -v") == Finding("ulimit -v", "1.0 GB of address space for a process", Severity.NOTE)


def test_a_part_that_breaks_is_a_finding_and_the_rest_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "processor", lambda: 1 / 0)
    found = diagnose()
    assert list(found) == PARTS and what_is_missing(found)
    assert found["Machine"] == [Finding("Machine", "ZeroDivisionError: division by zero", Severity.MISSING)]
    assert "Studies can't run here until this is fixed: Machine." in shown(doctor_page(found))


def test_jax_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_in_a_child", answers("RuntimeError: no backend"))
    assert said("device: cpu") == Finding(
        "device: cpu", "JAX can't be used: RuntimeError: no backend", Severity.MISSING
    )
    assert said("device: cuda").severity is Severity.NOTE


def test_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_in_a_child", answers(jax_devices=["gpu", "CudaDevice(id=0)"]))
    assert doctor.check_devices()[1] == Finding("device: cuda", "JAX computes on CudaDevice(id=0)")


def test_without_plugins_of_jax_no_process_looks_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(function: Callable[[], Any], device: str) -> tuple[Any, str]:
        assert device == "cpu"
        return ["cpu", "TFRT_CPU_0"], ""

    monkeypatch.setattr(doctor, "has_jax_plugin", lambda: False)
    monkeypatch.setattr(doctor, "_in_a_child", answer)
    cpu, cuda = doctor.check_devices()
    assert (cpu.severity, cuda.severity) == (Severity.GOOD, Severity.NOTE)
    assert "JAX finds no NVIDIA GPU" in cuda.text and "cuda12" in cuda.text


class TestPackages:
    @pytest.mark.parametrize(("name", "state"), [("gymnasium", Severity.MISSING), ("metaworld", Severity.NOTE)])
    def test_one_that_cannot_be_imported(self, monkeypatch: pytest.MonkeyPatch, name: str, state: Severity) -> None:
        monkeypatch.setattr(doctor, "_in_a_child", answers(import_faults={name: "ImportError: libX is missing"}))
        (finding,) = (finding for finding in doctor.check_packages() if finding.about == name)
        assert finding.severity is state and "can't be imported: ImportError: libX is missing" in finding.text

    def test_one_that_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(doctor, "PACKAGES", ("jax", "no-such-package"))
        assert said("no-such-package") == Finding(
            "no-such-package", "not installed: pip install no-such-package, or with uv: uv sync", Severity.MISSING
        )


class TestExtras:
    LISTED = ("numpy>=2", "no-such-package>=1 ; extra == 'film'", "numpy>=2 ; extra == 'film'", "scipy ; extra == 'c'")

    def test_installed_or_how_to_install_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(doctor, "requires", lambda name: [*self.LISTED, "jax[cuda12] ; extra == 'cuda12'"])
        about = Message()
        for extra in ("film", "c", "cuda12"):
            about["Provides-Extra"] = extra
        monkeypatch.setattr(doctor, "metadata", lambda name: about)
        film, c = doctor.check_extras()
        assert film.about == "film" and film.severity is Severity.HINT
        assert film.text.startswith("not installed: pip install 'rlottery[film]'")
        assert c == Finding("c", f"scipy {version('scipy')}")

    def test_those_of_this_package(self) -> None:
        assert {"film", "metaworld", "minatar"} <= {finding.about for finding in doctor.check_extras()}

    def test_a_package_that_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def none(name: str) -> None:
            raise PackageNotFoundError(name)

        monkeypatch.setattr(doctor, "requires", none)
        assert said("extras").severity is Severity.HINT


class TestRendering:
    def test_the_second_way(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tried = [Renderer("egl", "no EGL"), Renderer("osmesa")]
        monkeypatch.setattr(doctor, "try_renderers", lambda seconds: tried)
        assert doctor.check_rendering() == [Finding("MUJOCO_GL=osmesa", "works")]

    def test_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(doctor, "try_renderers", lambda seconds: [Renderer("egl", "no EGL")])
        assert "apt install libegl1 libosmesa6" in said("to render").text
        assert all(finding.severity is Severity.NOTE for finding in doctor.check_rendering())


def test_openblas(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said("OPENBLAS_CORETYPE").text == "not set"
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert said("OPENBLAS_CORETYPE").severity is Severity.NOTE


def test_what_is_asked_of_children() -> None:
    """In this process, whose packages and devices are those of a sound machine."""
    backend, *devices = doctor.jax_devices()
    assert backend in ("cpu", "gpu") and devices
    assert set(doctor.import_faults()) <= {"metaworld"}


def test_a_child_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    def end(function: str, **_: Any) -> None:
        assert function == "rlottery.study.doctor:jax_devices"
        raise ChildError("its process was killed by SIGSEGV")

    monkeypatch.setattr(doctor, "call_in_child", end)
    assert doctor._in_a_child(doctor.jax_devices) == (None, "its process was killed by SIGSEGV")


@pytest.mark.parametrize("works", [True, False])
def test_the_command(works: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_in_a_child", answers() if works else answers("RuntimeError: no backend"))
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == (0 if works else 1)
    assert "Kernels" in result.stdout
