"""Checks whether this machine can run a study, for `rlottery doctor`. Reports every part, even if some are broken."""

import importlib
import math
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from typing import Any

from packaging.requirements import Requirement
from rich.console import Group
from rich.table import Table
from rich.text import Text

from rlottery.agents.kernels.build import read_build_record
from rlottery.agents.kernels.library import build_command, look
from rlottery.envs.renderers import try_renderers
from rlottery.errors import error_text, install_extra
from rlottery.processes.children import ChildError, call_in_child, child_environment
from rlottery.safety.personal import without_names
from rlottery.storage.made_with import PACKAGES
from rlottery.study.execution.cores import usable_cores
from rlottery.study.planning.devices import has_jax_plugin
from rlottery.study.resources.disk_space import size
from rlottery.study.resources.memory import ADDRESS_SPACE, available_memory
from rlottery.study.resources.process_limits import address_space
from rlottery.study.versions import processor
from rlottery.version import __version__

OPTIONAL = ("metaworld",)
"""Packages that come with an extra of the same name, for some tasks."""
_MASKED_DENSE = "masked dense (slower, same results up to rounding), because the compiled kernels are off"
CHECK_SECONDS = 120
"""How long a check in a child process may take."""


class Severity(Enum):
    """What a finding means for a study. The values are shown to the user."""

    GOOD = "ok"
    HINT = ""
    NOTE = "note"
    MISSING = "missing"


_STYLES = {Severity.GOOD: "green", Severity.HINT: "", Severity.NOTE: "yellow", Severity.MISSING: "bold red"}


@dataclass(frozen=True)
class Finding:
    """One line of the page: what was checked, and the result."""

    about: str
    text: str
    severity: Severity = Severity.GOOD


def diagnose() -> dict[str, list[Finding]]:
    """The findings by part. A part whose check fails has that failure as its finding."""
    with ThreadPoolExecutor() as pool:
        checks = {name: pool.submit(check) for name, check in _PARTS.items()}
        found = {}
        for name, answer in checks.items():
            try:
                found[name] = answer.result()
            except Exception as error:  # whatever is broken, report the other parts
                found[name] = [Finding(name, error_text(error), Severity.MISSING)]
    return found


def doctor_page(found: Mapping[str, Sequence[Finding]]) -> Group:
    """All findings, and the conclusion."""
    table = Table(box=None, pad_edge=False, padding=(0, 1), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, findings in found.items():
        table.add_row("", Text(name, style="bold"), "")
        for finding in findings:
            mark = Text(finding.severity.value, style=_STYLES[finding.severity])
            table.add_row(mark, Text(finding.about), Text(finding.text))
    verdict = "Studies can run here."
    if missing := what_is_missing(found):
        verdict = f"Studies can't run here until this is fixed: {', '.join(missing)}."
    return Group(table, Text(verdict, style="italic"))


def doctor_record(found: Mapping[str, Sequence[Finding]]) -> dict[str, Any]:
    """All findings as JSON, to report an error with. Names of users, hosts and folders are left out."""
    return {
        "format": 1,
        "rlottery": __version__,
        "studies_can_run": not what_is_missing(found),
        "findings": [
            {
                "part": without_names(name),
                "about": without_names(finding.about),
                "text": without_names(finding.text),
                "severity": finding.severity.value or "hint",
            }
            for name, findings in found.items()
            for finding in findings
        ],
    }


def what_is_missing(found: Mapping[str, Sequence[Finding]]) -> list[str]:
    """What a study needs and this machine lacks."""
    return [one.about for findings in found.values() for one in findings if one.severity is Severity.MISSING]


def check_kernels() -> list[Finding]:
    """How tickets are trained and why, how the kernels were built, and how to build them again."""
    found, record = look(fresh=True), read_build_record()
    if found.usable:
        findings = [Finding("path", f"compiled kernels, {found.instruction_set}: {found.why}")]
    else:
        findings = [Finding("path", f"{_MASKED_DENSE}: {found.why}", Severity.NOTE)]
        findings.append(Finding("to fix this", found.remedy, Severity.NOTE))
    if found.uncached:
        lost = f"{found.uncached}, so each worker tests the kernels again. Set XDG_CACHE_HOME to another folder."
        findings.append(Finding("test result", f"can't be kept: {lost}", Severity.NOTE))
    if record is not None and record.built:
        made = f"{record.compiler_version}, and the headers of jaxlib {record.headers}"
        findings.append(Finding("built with", f"{made}, for {', '.join(record.instruction_sets)}"))
    elif record is not None:
        findings += [Finding("compiler", line, Severity.NOTE) for line in record.compiler_output]
    return [*findings, Finding("to build again", build_command(), Severity.HINT)]


def check_machine() -> list[Finding]:
    """Processor, cores, memory, threads, and a variable that changes NumPy's speed."""
    cores, memory, space, known = usable_cores(), available_memory(), address_space(), processor()
    forced = os.environ.get("OPENBLAS_CORETYPE", "")
    limited, severity = space < math.inf, Severity.NOTE if space < 2 * ADDRESS_SPACE else Severity.GOOD
    effect = f"{forced}: NumPy computes matrix products as for that processor, which also affects speed estimates"
    return [
        Finding("processor", " ".join((platform.machine(), known["processor"], known.get("vectors", ""))).strip()),
        Finding("cores", f"{cores.number} of {os.cpu_count()}, one per worker: {cores.why}"),
        Finding("memory", str(memory or "unknown")),
        *([Finding("ulimit -v", f"{size(space)} of address space for a process", severity)] if limited else []),
        Finding("threads", "one per worker, so that results repeat bit for bit"),
        Finding("OPENBLAS_CORETYPE", effect if forced else "not set", Severity.NOTE if forced else Severity.GOOD),
    ]


def check_devices() -> list[Finding]:
    """JAX's backend in a worker, for both values of the config's `device`."""
    findings = []
    for name in ("cpu", "cuda"):
        # Without a plugin, JAX has nothing to look for, and the process would take a second to import it.
        found, fault = _in_a_child(jax_devices, name) if name == "cpu" or has_jax_plugin() else (None, "")
        backend, *devices = found or [""]
        text, severity = f"JAX computes on {', '.join(devices)}", Severity.GOOD
        if fault and name == "cpu":
            text, severity = f"JAX can't be used: {fault}", Severity.MISSING
        elif name == "cuda" and backend != "gpu":
            fix = f"To use one: {install_extra('cuda12')}"
            text, severity = f"not available: {fault or 'JAX finds no NVIDIA GPU'}. {fix}", Severity.NOTE
        findings.append(Finding(f"device: {name}", text, severity))
    return findings


def check_packages() -> list[Finding]:
    """The version of each package, and whether it can be imported."""
    findings = [Finding("python", platform.python_version()), Finding("rlottery", __version__)]
    found, fault = _in_a_child(import_faults)
    faults = found or {}
    if fault:
        findings.append(Finding("imports", f"the process that imports them failed: {fault}", Severity.MISSING))
    for name in PACKAGES:
        severity = Severity.NOTE if name in OPTIONAL else Severity.MISSING
        try:
            text = version(name)
        except PackageNotFoundError:
            if name in OPTIONAL:
                continue
            text = f"not installed: pip install {name}, or with uv: uv sync"
        else:
            if name in faults:
                text += f" can't be imported: {faults[name]}"
            else:
                severity = Severity.GOOD
        findings.append(Finding(name, text, severity))
    return findings


def check_extras() -> list[Finding]:
    """The packages of each extra of rlottery, or how to install it."""
    try:
        listed = [Requirement(line) for line in requires("rlottery") or ()]
        extras = metadata("rlottery").get_all("Provides-Extra") or []
    except PackageNotFoundError:
        return [Finding("extras", "unknown, because rlottery itself isn't installed here", Severity.HINT)]
    findings = []
    for extra in extras:
        brought = [one for one in listed if one.marker and one.marker.evaluate({"extra": extra})]
        packages = [one.name for one in brought if not one.extras]
        if not packages:  # CUDA's, an extra of JAX itself: `check_devices` says whether it works
            continue
        found = {name: _installed_version(name) for name in packages}
        if None in found.values():
            findings.append(Finding(extra, f"not installed: {install_extra(extra)}", Severity.HINT))
        else:
            findings.append(Finding(extra, ", ".join(f"{name} {number}" for name, number in found.items())))
    return findings


def _installed_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def check_rendering() -> list[Finding]:
    """Whether MuJoCo can render without a screen. Training doesn't need it."""
    tried = try_renderers(CHECK_SECONDS)
    if not tried[-1].fault:
        return [Finding(f"MUJOCO_GL={tried[-1].name}", "works")]
    findings = [Finding(f"MUJOCO_GL={renderer.name}", renderer.fault, Severity.NOTE) for renderer in tried]
    fix = "install Mesa's EGL or OSMesa (Debian, Ubuntu: apt install libegl1 libosmesa6). Training needs neither."
    return [*findings, Finding("to render", fix, Severity.NOTE)]


_PARTS: dict[str, Callable[[], list[Finding]]] = {
    "Kernels": check_kernels,
    "Machine": check_machine,
    "Device": check_devices,
    "Versions": check_packages,
    "Extras": check_extras,
    "Rendering": check_rendering,
}


def jax_devices() -> list[str]:
    """JAX's backend and its devices, in this process."""
    import jax

    return [jax.default_backend(), *map(str, jax.devices())]


def import_faults() -> dict[str, str]:
    """The packages that can't be imported into this process, with the error of each on one line."""
    faults = {}
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except Exception as error:
            faults[name] = error_text(error).splitlines()[0]
    return faults


def _in_a_child(function: Callable[[], Any], device: str = "cpu") -> tuple[Any, str]:
    """What a function of this module returns in a worker's environment, and the error if it fails, else ""."""
    try:
        name, environment = f"{__name__}:{function.__name__}", child_environment(device)
        return call_in_child(name, seconds=CHECK_SECONDS, environment=environment), ""
    except (ChildError, OSError) as error:
        return None, str(error)
