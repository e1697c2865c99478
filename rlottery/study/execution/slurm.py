"""Slurm, by way of submitit: an allocation is a job, and those that are handed in together are an array.

submitit writes the batch script, submits it, and hears Slurm's warning before the time limit in the job. It then asks
`SavingCommand.checkpoint` what to do, and puts the job back into the queue. How often that may happen is for
`rlottery.study.execution.sessions` to say: submitit's own count of timeouts takes every limit below twelve minutes for
one that was reached.

What jobs do is asked of `squeue`, because many sites have no accounting, which submitit's `sacct` needs.
"""

import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlottery.config.cluster_profile import ClusterProfile
from rlottery.errors import StudyError, install_extra
from rlottery.processes.stopping import TERMINATED
from rlottery.report.wording import plural
from rlottery.storage.paths import Store
from rlottery.study.execution.allocations import Allocation, jobs_folder
from rlottery.study.execution.cluster import Cancelled, Phase, RefusedError, Standing
from rlottery.study.execution.executor import GRACE_SECONDS
from rlottery.study.execution.sessions import LIMIT_REACHED

WARNING_SECONDS = 60
"""How long before the time limit Slurm warns a job; it may do so a minute earlier. Also what a node needs to save."""
MOST_TIMEOUTS = 1_000_000
"""submitit's limit, out of the way of ours."""
CANCELLED_AT_ONCE = 100
"""The most arrays that are named to `scancel` together."""
ASK_SECONDS = 60.0
"""How long one of Slurm's commands may take."""
POLL_SECONDS = 3.0
PLACE = "slurm"
_KEPT = ("SLURM_CONF",)
"""Variables that say where Slurm is."""
_OVER = (
    "COMPLETED",
    "FAILED",
    "TIMEOUT",
    "NODE_FAIL",
    "BOOT_FAIL",
    "DEADLINE",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
)
_RUNNING = ("RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING", "STOPPED")


_LIMIT = re.compile(r"(?:(\d+)-)?(\d+):(\d+):(\d+)")
"""Days, hours, minutes and seconds, as scontrol shows them."""


class Slurm:
    """Slurm with the settings of a profile (`cluster.Engine`)."""

    name = "Slurm"
    place = PLACE
    poll_seconds = POLL_SECONDS

    def __init__(self, store: Store, profile: ClusterProfile):
        self._store, self._profile = store, profile
        self.most_at_once, self.capacity = profile.array_size, profile.jobs

    def hand_in(self, allocations: Sequence[Allocation]) -> list[str]:
        commands = [SavingCommand(allocation.command) for allocation in allocations]
        flags = sbatch_flags(self._profile) | {"comment": allocations[0].batch}
        return submit(self._store, self._profile, commands, flags, jobs_folder(allocations[0]))

    def standings(self) -> Mapping[tuple[str, int], Standing] | None:
        asked = ["squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}"]
        answer = ask([*asked, f"--name={job_name(self._store)}", "--format=%k|%K|%T|%r"])
        return None if answer.returncode else read_standings(answer.stdout)


class SlurmJobs:
    """The jobs of a study, to cancel them (`cancelling.Jobs`).

    Raises:
        StudyError: Slurm's commands are missing here, or Slurm doesn't answer.
    """

    name = "Slurm"

    def __init__(self, store: Store):
        self._store = store
        check_commands("squeue", "scancel")
        self._listed()

    def cancel_submitting(self, prefix: str) -> Cancelled:
        return self._cancel({comment: jobs for comment, jobs in self._listed().items() if comment.startswith(prefix)})

    def cancel(self) -> Cancelled:
        return self._cancel(self._listed())

    def close(self) -> None: ...

    def _listed(self) -> dict[str, list[tuple[str, Phase]]]:
        """Comment -> id and phase of each job that can be cancelled."""
        name = job_name(self._store)
        asked = ["squeue", "--noheader", "--array", f"--user={os.getuid()}", f"--name={name}", "--format=%k|%T|%i"]
        answer = ask(asked)
        if answer.returncode:
            raise StudyError(f"Slurm doesn't answer: {_words(answer.stderr)}. Run this command again once it does.")
        found: dict[str, list[tuple[str, Phase]]] = {}
        for line in answer.stdout.splitlines():
            comment, state, number = [*line.strip().split("|", 2), "", ""][:3]
            if number and state not in (*_OVER, "COMPLETING", "CANCELLED"):
                found.setdefault(comment, []).append((number, Phase.RUNNING if state in _RUNNING else Phase.QUEUED))
        return found

    def _cancel(self, listed: Mapping[str, Sequence[tuple[str, Phase]]]) -> Cancelled:
        found = [job for jobs in listed.values() for job in jobs]
        arrays = sorted({number.partition("_")[0] for number, _ in found})
        for first in range(0, len(arrays), CANCELLED_AT_ONCE):
            answer = ask(["scancel", *arrays[first : first + CANCELLED_AT_ONCE]])
            if answer.returncode and "already complet" not in answer.stderr:
                raise StudyError(f"Slurm has not cancelled all jobs: {_words(answer.stderr)}. Run this command again.")
        running = sum(phase is Phase.RUNNING for _, phase in found)
        return Cancelled(running, len(found) - running)


class SavingCommand:
    """What submitit runs in a job: a command that saves its work at SIGTERM, and ends with 75 if more is left to do.

    The command starts with `LIMIT_REACHED` blocked. It gets this one before SIGTERM when the time limit is near.
    """

    def __init__(self, command: Sequence[str]):
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_command": self._command, "_process": None}

    def __call__(self) -> int:
        """Run the command to its end. Returns its exit code."""
        # Slurm's warning reaches all processes of the step. Blocked, it ends none, and stays pending.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {LIMIT_REACHED})
        try:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        while not self._is_over():
            time.sleep(0.2)
        return self._process.wait()

    def checkpoint(self) -> Any:
        """Called by submitit at Slurm's warning. Returns what continues in the next job; None if nothing is left."""
        from submitit.helpers import DelayedSubmission

        assert self._process is not None
        deadline = time.monotonic() + GRACE_SECONDS + 10.0
        self._process.send_signal(LIMIT_REACHED)
        while not self._is_over() and time.monotonic() < deadline:
            self._process.send_signal(signal.SIGTERM)
            time.sleep(1.0)
        # One that has just saved, and takes itself apart, dies of the next SIGTERM.
        has_more = self._process.poll() in (TERMINATED, -signal.SIGTERM, None)
        return DelayedSubmission(SavingCommand(self._command)) if has_more else None

    def _is_over(self) -> bool:
        """Whether the command has ended. It isn't waited for: a signal handler may have interrupted that."""
        assert self._process is not None
        try:
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
        except ChildProcessError:
            return True


def sbatch_flags(profile: ClusterProfile) -> dict[str, Any]:
    """What a job of the study asks for, by sbatch's names."""
    named = {name: getattr(profile, name) for name in ("partition", "account", "qos", "constraint")}
    flags = {"time": profile.time, "cpus-per-task": profile.cores, "nodes": 1, "ntasks": 1} | named
    memory = {"mem": "0", "exclusive": True} if profile.whole_nodes else {"mem-per-cpu": profile.memory}
    flags |= memory | {"requeue" if profile.requeue else "no-requeue": True}
    return {name: value for name, value in flags.items() if value is not None}


def submit(
    store: Store, profile: ClusterProfile, commands: Sequence[SavingCommand], flags: Mapping[str, Any], folder: Path
) -> list[str]:
    """Submit jobs, as one array if there are several. Returns their ids. Raises RefusedError with Slurm's words.

    Args:
        folder: where submitit keeps its files and what the jobs print. A new one: submitit's files can run code.
    """
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    executor = submitit.SlurmExecutor(folder, max_num_timeout=MOST_TIMEOUTS)
    exports = [f"export {name}={shlex.quote(value)}" for name, value in profile.environment.items()]
    executor.update_parameters(
        job_name=job_name(store),
        signal_delay_s=WARNING_SECONDS,
        setup=[*profile.setup, *exports],
        array_parallelism=profile.jobs,
        stderr_to_stdout=True,
        time=flags["time"],
        srun_args=[f"--cpus-per-task={flags['cpus-per-task']}"],  # srun doesn't take it from sbatch
        additional_parameters=dict(flags),
    )
    try:
        # In a job, such as that of --detach, its variables would be taken for the new jobs'.
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        with submitit.helpers.clean_env(), executor.batch():
            os.environ.update(kept)
            jobs = [executor.submit(command) for command in commands]
    except (FailedJobError, FailedSubmissionError, subprocess.CalledProcessError, OSError) as error:
        answers = ask(["scontrol", "ping"]).returncode == 0
        raise RefusedError(_words(str(error)), fewer_may_do=answers) from None
    return [job.job_id for job in jobs]


def job_name(store: Store) -> str:
    """The name of a study's jobs."""
    digest = hashlib.sha256(os.fsencode(store.root.resolve())).hexdigest()[:8]
    return f"rlottery-{digest}"


def read_standings(listed: str) -> dict[tuple[str, int], Standing]:
    """What squeue lists, by batch and index. Jobs that have ended are left out, unless somebody has cancelled them."""
    found = {}
    for line in listed.splitlines():
        batch, index, state, why = [*line.strip().split("|", 3), "", "", ""][:4]
        place = int(index) if index.isdecimal() else 0
        if state in _RUNNING:
            found[batch, place] = Standing(Phase.RUNNING)
        elif state.startswith("CANCELLED"):
            found[batch, place] = Standing(Phase.CANCELLED)
        elif state and state not in _OVER:
            found[batch, place] = Standing(Phase.QUEUED, "" if why in ("None", "Priority", "Resources") else why)
    return found


def check_commands(*names: str) -> None:
    """Raise StudyError if one of these commands of Slurm is missing here."""
    for name in names:
        if shutil.which(name) is None:
            raise StudyError(
                f"{name} is not on the path. Run this command on a login node of a Slurm cluster, or load its "
                "module first (module load slurm)."
            )


def check_tools() -> None:
    """Raise StudyError if Slurm's commands or submitit are missing here."""
    check_commands("sbatch", "srun", "squeue", "scontrol")
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise StudyError(f"--on slurm needs submitit: {install_extra('slurm')}") from None


def check_slurm(profile: ClusterProfile) -> None:
    """Raise StudyError if Slurm would not take jobs with this profile. Nothing is submitted."""
    listed = ask(["scontrol", "--oneliner", "show", "partition"])
    if listed.returncode:
        raise StudyError(
            f"Slurm doesn't answer: {_words(listed.stderr)}. `sinfo` shows whether it does. Try again once it does."
        )
    flags = [f"--{name}" if value is True else f"--{name}={value}" for name, value in sbatch_flags(profile).items()]
    answer = ask(["sbatch", "--test-only", *flags, "--wrap=true"])
    if answer.returncode:
        raise StudyError(
            f"Slurm would not take these jobs: {_words(answer.stderr)}. Change the profile (partition, account, qos, "
            "time, memory, cores, constraint). `sinfo -s` lists partitions, `scontrol show partition` their limits."
        )
    most = most_minutes(listed.stdout, profile.partition)
    if most is not None and profile.time > most and profile.qos is None:  # a quality of service may allow more
        raise StudyError(
            f"Jobs would never start: their time limit is {plural(profile.time, 'minute')}, and the partition's is "
            f"{most}. Lower `time` in the profile (with --detach also `head_time`), or choose another partition. "
            "`sinfo -s` lists them with their limits."
        )


def most_minutes(listed: str, partition: str | None) -> int | None:
    """The highest time limit of the partitions that jobs are for, in minutes; None if there is none.

    Args:
        listed: what ``scontrol --oneliner show partition`` lists.
        partition: the names of partitions, with commas between them; None: the default one.
    """
    limits = []
    for line in listed.splitlines():
        found = dict(part.partition("=")[::2] for part in line.split())
        if found.get("Default") == "YES" if partition is None else found.get("PartitionName") in partition.split(","):
            limit = _LIMIT.fullmatch(found.get("MaxTime", ""))
            if limit is None:  # UNLIMITED
                return None
            days, hours, minutes, seconds = (int(number or 0) for number in limit.groups())
            limits.append(60 * (24 * days + hours) + minutes + (seconds > 0))
    return max(limits, default=None)


def ask(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run one of Slurm's commands. One that can't run or takes too long has failed."""
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=ASK_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def _words(said: str) -> str:
    """What Slurm says, on one line, without its prefixes."""
    lines = [line.removeprefix("sbatch: ").removeprefix("error: ").strip(" .") for line in said.splitlines()]
    told = [line for line in lines if line and not line.startswith(("Traceback", "File ", "subprocess."))]
    return "; ".join(dict.fromkeys(told[-3:])) or "it says nothing"
