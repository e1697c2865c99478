"""Is this machine ready for a study? Told by `rlottery doctor`, part by part, also where something is broken."""

import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import PackageNotFoundError, version

from rich.console import Group
from rich.table import Table
from rich.text import Text

from rlottery.agents.kernels.build import read_record
from rlottery.agents.kernels.library import build_command, look
from rlottery.envs.renderers import ask_a_child, try_renderers
from rlottery.errors import RlotteryError
from rlottery.study.execution.environment import available_cores, worker_environment
from rlottery.study.versions import PACKAGES, processor
from rlottery.version import __version__

OPTIONAL = ("metaworld",)
"""Studies of other tasks do without them."""
_MASKED_DENSE = "masked dense: slower, with the same results up to rounding, for the compiled kernels are off"
SECONDS = 120
"""Longest that a part may take."""


class Severity(Enum):
    """What a finding means for a study."""

    GOOD = "ok"
    HINT = ""
    NOTE = "note"
    MISSING = "missing"


_STYLES = {Severity.GOOD: "green", Severity.HINT: "", Severity.NOTE: "yellow", Severity.MISSING: "bold red"}


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, and what was seen there."""

    about: str
    told: str
    state: Severity = Severity.GOOD


def diagnose() -> dict[str, list[Finding]]:
    """What was found, by part. A part that fails to look is a finding of its own."""
    with ThreadPoolExecutor() as pool:
        asked = {name: pool.submit(look_into) for name, look_into in _PARTS.items()}
        found = {}
        for name, answer in asked.items():
            try:
                found[name] = answer.result()
            except RlotteryError as error:
                found[name] = [Finding(name, str(error), Severity.MISSING)]
            except Exception as error:  # whatever is broken, the other parts are told
                found[name] = [Finding(name, f"{type(error).__name__}: {error}", Severity.MISSING)]
    return found


def doctor_page(found: Mapping[str, Sequence[Finding]]) -> Group:
    """All findings, and what they come to."""
    table = Table(box=None, pad_edge=False, padding=(0, 1), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, findings in found.items():
        table.add_row("", Text(name, style="bold"), "")
        for finding in findings:
            mark = Text(finding.state.value, style=_STYLES[finding.state])
            table.add_row(mark, Text(finding.about), Text(finding.told))
    lacking = [finding for findings in found.values() for finding in findings if finding.state is Severity.MISSING]
    verdict = "Studies can run here."
    if lacking:
        verdict = f"Studies can't run here before this is mended: {', '.join(finding.about for finding in lacking)}."
    return Group(table, Text(verdict, style="italic"))


def is_ready(found: Mapping[str, Sequence[Finding]]) -> bool:
    """Whether nothing that a study needs is missing."""
    return all(finding.state is not Severity.MISSING for findings in found.values() for finding in findings)


def kernels() -> list[Finding]:
    """Which path tickets take and why, what the library was made with, and what makes it again."""
    found, record = look(fresh=True), read_record()
    if found.usable:
        told = [Finding("path", f"compiled kernels, {found.instruction_set}: {found.why}")]
    else:
        told = [
            Finding("path", f"{_MASKED_DENSE}: {found.why}", Severity.NOTE),
            Finding("to mend that", found.mend, Severity.NOTE),
        ]
    if record is not None and record.built:
        made = f"{record.compiler_version}, and the headers of jaxlib {record.headers}"
        told.append(Finding("built with", f"{made}, for {', '.join(record.instruction_sets)}"))
    elif record is not None:
        told += [Finding("compiler", line, Severity.NOTE) for line in record.said]
    return [*told, Finding("to build again", build_command(), Severity.HINT)]


def machine() -> list[Finding]:
    """Processor, cores, threads, and what is set that bends NumPy."""
    cores, known = available_cores(), processor()
    forced = os.environ.get("OPENBLAS_CORETYPE", "")
    bent = f"{forced}: NumPy's matrix products are those of that processor, and so is a limit measured by them"
    return [
        Finding("processor", " ".join((platform.machine(), known["processor"], known.get("vectors", ""))).strip()),
        Finding("cores", f"{len(cores)} of {os.cpu_count()}, one for each worker"),
        Finding("threads", "one in each worker, so that results repeat to the bit"),
        Finding("OPENBLAS_CORETYPE", bent if forced else "not set", Severity.NOTE if forced else Severity.GOOD),
    ]


def device() -> list[Finding]:
    """JAX's backends in a worker, for both values of `device`."""
    code = "import jax; print(jax.default_backend(), *jax.devices(), sep='|')"
    told = []
    for name in ("cpu", "cuda"):
        said, fault = _in_a_child(code, worker_environment(name))
        backend, *devices = said.split("|")
        if fault and name == "cpu":
            told.append(Finding("device: cpu", f"JAX can't be used: {fault}", Severity.MISSING))
        elif name == "cpu":
            told.append(Finding("device: cpu", f"JAX computes on {', '.join(devices)}"))
        elif backend == "gpu":
            told.append(Finding("device: cuda", f"JAX computes on {', '.join(devices)}"))
        else:
            why = fault or "JAX finds no NVIDIA GPU"
            told.append(
                Finding(
                    "device: cuda",
                    f"not here: {why}. With one: pip install 'jax[cuda12]', or with uv: uv sync --extra cuda12",
                    Severity.NOTE,
                )
            )
    return told


def packages() -> list[Finding]:
    """Versions, and whether each can be imported."""
    told = [Finding("python", platform.python_version()), Finding("rlottery", __version__)]
    code = (
        "import importlib, json\n"
        "faults = {}\n"
        f"for name in {PACKAGES}:\n"
        "    try:\n"
        "        importlib.import_module(name)\n"
        "    except Exception as error:\n"
        "        faults[name] = f'{type(error).__name__}: {error}'.splitlines()[0]\n"
        "print(json.dumps(faults))"
    )
    said, fault = _in_a_child(code, worker_environment())
    faults = json.loads(said) if not fault else {}
    if fault:
        told.append(Finding("imports", f"a process that imported them failed: {fault}", Severity.MISSING))
    for name in PACKAGES:
        bad = Severity.NOTE if name in OPTIONAL else Severity.MISSING
        try:
            number = version(name)
        except PackageNotFoundError:
            told.append(Finding(name, f"not installed: pip install {name}, or with uv: uv sync", bad))
            continue
        if name in faults:
            told.append(Finding(name, f"{number} can't be imported: {faults[name]}", bad))
        else:
            told.append(Finding(name, number))
    return told


def rendering() -> list[Finding]:
    """Whether MuJoCo draws without a screen. Training draws nothing."""
    tried = try_renderers(_in_a_child, worker_environment())
    if not tried[-1].fault:
        return [Finding(f"MUJOCO_GL={tried[-1].name}", "draws")]
    told = [Finding(f"MUJOCO_GL={renderer.name}", renderer.fault, Severity.NOTE) for renderer in tried]
    mend = "install Mesa's EGL or OSMesa (Debian, Ubuntu: apt install libegl1 libosmesa6); training needs neither"
    return [*told, Finding("to draw", mend, Severity.NOTE)]


_PARTS: dict[str, Callable[[], list[Finding]]] = {
    "Kernels": kernels,
    "Machine": machine,
    "Device": device,
    "Versions": packages,
    "Rendering": rendering,
}


def _in_a_child(code: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """The last line that a Python process prints, and what went wrong there ("" is nothing)."""
    return ask_a_child(code, environment, SECONDS)
