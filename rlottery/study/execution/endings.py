"""How a worker's job ends: what the worker reports or how its process ended, and what to tell the user about it."""

import contextlib
import errno
import os
import signal
import sys
from pathlib import Path
from typing import NamedTuple

from rlottery.errors import GoneError, RlotteryError, located_text
from rlottery.processes.children import ended_by
from rlottery.safety.regular_files import regular
from rlottery.storage.checkpoint_record import checkpoint_to_continue
from rlottery.storage.manifests import read_manifest
from rlottery.storage.metrics_log import read_evaluations
from rlottery.storage.progress import Progress
from rlottery.study.planning.jobs import TRAINING, UNTRAINED, Job
from rlottery.study.stages.faults import AGAIN, Fault, fault_of, with_fix

FAILED = 3
"""Exit code of a job that ended with an error."""
STOPPED = 4
"""Exit code of a job that was asked to stop."""
DISK_FULL = 5
"""Exit code of a job that found the disk full, so that its log may lack the message."""
AGAIN_LATER = 75
"""In place of an exit code: the job waits to be started again, because its machine or its time was lost."""
_BUG = "The environment or a library has a bug in compiled code"
_CRASHES = {
    "SIGABRT": "A library has given up, most likely because it got no memory or no thread (ulimit -v, ulimit -u)",
    "SIGSEGV": _BUG,
    "SIGBUS": "A file that was mapped into memory was cut short, or its disk is full",
    "SIGILL": "The processor lacks an instruction that a library uses",
    "SIGFPE": _BUG,
    "SIGSYS": "The container forbids a system call that a library needs",
    "SIGXCPU": "Its CPU time was used up: raise the limit (ulimit -t)",
    "SIGXFSZ": "A file became too large: raise the limit (ulimit -f)",
}
"""What most likely happened to a process that was killed by a signal."""
_LOG_BYTES = 2_000
"""How much of the end of a worker's log is read for its last line."""


class Ending(NamedTuple):
    """How a job ended.

    Attributes:
        code: 0, `FAILED`, `STOPPED`, `DISK_FULL` or `AGAIN_LATER`; or the exit code of the process, if it ended before
            it reported how the job did. A process killed by signal N has code -N.
        report: what the worker says about it; None if it said nothing.
        began: whether the worker came as far as the job. If not, nothing is wrong with the job.
    """

    code: int
    report: str | None = None
    began: bool = True


def ending_of(error: BaseException, data: Path | None = None) -> Ending:
    """How a job ended that raised `error`. It belongs to the study in the folder `data`."""
    if isinstance(error, GoneError):
        return Ending(FAILED, str(error))
    text, fault = located_text(error), fault_of(error, data)
    if fault is Fault.MACHINE:
        return Ending(FAILED, with_fix(text, error, data))
    return Ending({Fault.STOPPED: STOPPED, Fault.DISK_FULL: DISK_FULL, None: FAILED}[fault], text)


def begin_log(job: Job) -> None:
    """Make the job's folder and its log, unless they exist."""
    job.files.folder.mkdir(parents=True, exist_ok=True)
    open(job.log, "ab", opener=regular).close()


def manifest_time(job: Job) -> int:
    """When the manifest of the job's run was written; 0 if there is none, or if the job isn't a run."""
    with contextlib.suppress(OSError):
        return job.files.manifest.stat().st_mtime_ns if job.stage in TRAINING else 0
    return 0


def failure_message(job: Job, ending: Ending, started_after: int, *, shares_worker: bool) -> str:
    """Why a job failed: what its worker reports, else what its manifest says, else how the process ended.

    Args:
        started_after: `manifest_time` before the worker was started. A manifest as old as that is an earlier one.
    """
    why = ending.report or _recorded_error(job, started_after)
    if why is None:
        why = _end_of_process(ending.code, shares_worker) if ending.began else _end_before(job, ending.code)
    return f"{why}\nlog: {job.log}"


def unstarted_message(job: Job, error: OSError) -> str:
    """Why a worker on the job couldn't be started, if that isn't for a lack of processes, and what to do about it."""
    if error.filename == sys.executable or not sys.executable:
        return (
            f"Python can't be started: {sys.executable or 'its path is unknown'}: {error.strerror}. If its environment "
            f"was changed or moved, repair it. {AGAIN}"
        )
    return with_fix(f"{job.files.folder} can't be written: {error.strerror or error}", error, job.config.data)


def is_lack_of_processes(error: OSError) -> bool:
    """Whether a process can't be started because there are too many, or too little memory for it."""
    return error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


def disk_full_message(job: Job) -> str:
    """What to do about a full disk."""
    return (
        f"No disk space is left for {job.files.folder}. Free some space, then run this command again. "
        f"{resume_message(job)}"
    )


def resume_message(job: Job) -> str:
    """Where the job continues when the command is run again."""
    if job.stage == UNTRAINED:
        return "It continues after the policies that are saved."
    found = checkpoint_to_continue(job.files)
    return f"It continues from step {found.record['env_steps']:,}." if found else "It restarts from the beginning."


def remarks(job: Job) -> str:
    """What there is to say about a run that is done: the damaged checkpoints that its last session found, and whether
    it replaced an earlier one. "" if there is nothing."""
    with contextlib.suppress(RlotteryError):
        manifest = read_manifest(job.files) if job.stage in TRAINING else None
        if manifest is not None:
            notes = [note for session in manifest.get("sittings", [])[-1:] for note in session["notes"]]
            replaced = [manifest["replaced"]] if "replaced" in manifest else []
            return "; ".join([*(f"skipped a damaged checkpoint: {note}" for note in notes), *replaced])
    return ""


def last_progress(job: Job) -> Progress | None:
    """The progress of a run that is done, with its last evaluation; None if there is none, or the job isn't a run."""
    with contextlib.suppress(RlotteryError, OSError):
        if job.stage in TRAINING and (rows := read_evaluations(job.files.metrics)):
            last = {f"last_{name}": rows[-1][name] for name in ("return", "success") if name in rows[-1]}
            return Progress(os.getpid(), rows[-1]["env_steps"], job.env_steps, 0.0, **last)
    return None


def has_diverged(job: Job) -> bool:
    """Whether the job's manifest says that the run diverged."""
    with contextlib.suppress(RlotteryError):
        manifest = read_manifest(job.files)
        return manifest is not None and manifest["status"] == "diverged"
    return False


def _recorded_error(job: Job, started_after: int) -> str | None:
    if manifest_time(job) in (0, started_after):
        return None
    with contextlib.suppress(RlotteryError):
        manifest = read_manifest(job.files)
        return manifest and manifest.get("error")
    return None


def _end_of_process(code: int, shares_worker: bool) -> str:
    if code == -signal.SIGKILL:
        also = ", and set RLOTTERY_TOGETHER=0 in the environment" if shares_worker else ""
        return (
            "the worker was killed by SIGKILL (out of memory?) twice. To use less memory, run fewer workers: "
            f"workers=1{also}"
        )
    if code < 0:
        hint = _CRASHES.get(ended_by(code).rpartition(" ")[2])
        return f"the worker {ended_by(code)}{f'. {hint}' if hint else ''}"
    return (
        f"the worker {ended_by(code)} before the job was finished: the environment, a criterion or a library has "
        "ended the process"
    )


def _end_before(job: Job, code: int) -> str:
    """How a worker ended that did not come as far as the job, and what to do about it."""
    said = ""
    with contextlib.suppress(OSError), open(job.log, "rb", opener=regular) as log:
        log.seek(-min(_LOG_BYTES, job.log.stat().st_size), 2)
        lines = log.read().decode(errors="replace").split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
    hint = _CRASHES.get(ended_by(code).rpartition(" ")[2], "Free memory, raise the limits of this machine (ulimit -a)")
    if "No module named" in said or "ImportError" in said:
        hint = "Repair the installation (`rlottery doctor` shows what is missing)"
    return f"the worker {ended_by(code)} before it could start the run{': ' * bool(said)}{said}. {hint}. {AGAIN}"
