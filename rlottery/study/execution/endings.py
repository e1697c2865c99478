"""How a worker's job ends: its exit code, and what to tell the user about it."""

import contextlib
import signal
from dataclasses import dataclass
from pathlib import Path

from rlottery.errors import RlotteryError
from rlottery.storage.checkpoint_record import newest_checkpoint
from rlottery.storage.manifests import read_manifest
from rlottery.study.planning.jobs import Job

FAILED = 3
"""Exit code of a job that ended with an error for the user. The last lines of its log have the message."""
STOPPED = 4
"""Exit code of a job that was asked to stop."""
DISK_FULL = 5
"""Exit code of a job that found the disk full, so that its log may lack the message."""
LOG_TAIL_BYTES = 2**16


@dataclass(frozen=True)
class JobLog:
    """A job's log, from where a worker begins to append to it."""

    path: Path
    start: int

    @classmethod
    def begin(cls, job: Job) -> "JobLog":
        """Make the job's folder and its log, unless they exist."""
        job.files.folder.mkdir(parents=True, exist_ok=True)
        with job.log.open("ab") as log:
            return cls(job.log, log.tell())

    def last_lines(self) -> list[str]:
        """What the worker has written, or the end of it if it is long."""
        try:
            with self.path.open("rb") as file:
                file.seek(max(self.start, self.path.stat().st_size - LOG_TAIL_BYTES))
                return file.read().decode(errors="replace").strip().splitlines()
        except OSError:
            return []


def failure_message(code: int, log: JobLog, *, shares_worker: bool) -> str:
    """Why a job ended with this exit code, which is none of 0, `STOPPED` and `DISK_FULL`."""
    lines = log.last_lines()
    errors = [index for index, line in enumerate(lines) if line.startswith("error: ")]
    if code == FAILED and errors:
        message = "\n".join(lines[errors[-1] :]).removeprefix("error: ")
        return f"{message}\nlog: {log.path}"
    how = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
    if code == -signal.SIGKILL:
        how += " twice. To use less memory, run fewer workers: workers=1"
        how += ", and set RLOTTERY_TOGETHER=0 in the environment" if shares_worker else ""
    return f"the worker {how}; the last line of its log: {lines[-1] if lines else '(none)'}\nlog: {log.path}"


def disk_full_message(job: Job) -> str:
    """What to do about a full disk."""
    return (
        f"No disk space is left for {job.files.folder}. Free some space, then run this command again. "
        f"{resume_message(job)}"
    )


def resume_message(job: Job) -> str:
    """Where the job continues when the command is run again."""
    record = newest_checkpoint(job.files)
    return f"It continues from step {record['env_steps']:,}." if record else "It restarts from the beginning."


def skipped_checkpoints_message(job: Job) -> str:
    """The damaged checkpoints that the run's last session found, or "" if it found none."""
    with contextlib.suppress(RlotteryError):
        manifest = read_manifest(job.files) if job.stage in ("dense", "ticket") else None
        if manifest and (sessions := manifest.get("sittings")):
            return "; ".join(f"skipped a damaged checkpoint: {note}" for note in sessions[-1]["notes"])
    return ""


def has_diverged(job: Job) -> bool:
    """Whether the job's manifest says that the run diverged."""
    with contextlib.suppress(RlotteryError):
        manifest = read_manifest(job.files)
        return manifest is not None and manifest["status"] == "diverged"
    return False


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name + (" (out of memory?)" if number == signal.SIGKILL else "")
    return f"signal {number}"
