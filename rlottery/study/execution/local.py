"""Workers on this machine: each is a child process, pinned to a core that no other worker is pinned to."""

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from rlottery.errors import GoneError, RlotteryError, StudyError
from rlottery.processes.children import child_environment, python_command
from rlottery.processes.descendants import LEADER_SECONDS, MARK, Child, end_families, new_mark
from rlottery.safety.regular_files import regular
from rlottery.storage.locks import try_lock
from rlottery.storage.work_place import WorkPlace
from rlottery.study.execution.backend import Answer, Worker
from rlottery.study.execution.cores import Claim, claim_core
from rlottery.study.execution.endings import Ending
from rlottery.study.execution.reports import BEGAN, read_reports
from rlottery.study.execution.template import Template, TemplateError, forks_work
from rlottery.study.execution.worker import encode
from rlottery.study.planning.jobs import Job
from rlottery.study.stages.failed_run import record_failure

WORKER_COMMAND = tuple(python_command("rlottery.study.execution.worker"))


class LocalBackend:
    """Starts workers as child processes.

    Args:
        place: has the locks of the runs, which workers inherit. Without it they take the locks themselves.
    """

    is_remote = False
    capacity: int | None = None
    cores: int | None = None
    poll_seconds = 0.0

    def __init__(self, place: WorkPlace | None = None):
        self._place = place
        self._template: Template | None = None
        self._forks = forks_work()

    def adopt(self, jobs: Mapping[int, Job]) -> Sequence[Worker]:
        return ()

    def submit(self, bundles: Sequence[Mapping[int, Job]]) -> list[Answer]:
        return [self._answer(jobs) for jobs in bundles]

    def _answer(self, jobs: Mapping[int, Job]) -> Answer:
        try:
            return self.start(jobs)
        except (RlotteryError, OSError) as error:
            return error

    def record_failure(self, job: Job, why: str) -> None:
        # Another process may have taken the run over: then the failure is not for this one to record.
        with contextlib.suppress(GoneError, StudyError):
            if self._place is not None:
                with self._place.lock(job.files).fenced():
                    record_failure(job, why)
            elif lock := try_lock(job.files):
                with lock:
                    record_failure(job, why)

    def start(self, jobs: Mapping[int, Job]) -> "LocalWorker":
        """Start a worker. One that does several jobs computes on an accelerator and is not pinned to a core."""
        inherited = self._place.inherited([job.files for job in jobs.values()]) if self._place else []
        claim = claim_core() if len(jobs) == 1 else None
        try:
            return self._start(jobs, claim, inherited)
        except OSError:
            if claim:
                claim.release()
            raise

    def close(self) -> None:
        if self._template is not None:
            self._template.close()
            self._template = None

    def _start(self, jobs: Mapping[int, Job], claim: Claim | None, inherited: Sequence[int]) -> "LocalWorker":
        first, mark = next(iter(jobs.values())), new_mark()
        # A nameless file: it lasts as long as one of the two processes. Where the log is there is room for it.
        reports = tempfile.TemporaryFile(dir=first.log.parent)  # noqa: SIM115
        try:
            with open(first.log, "ab", opener=regular) as log:
                process = self._process(first.config.device, mark, log, [reports.fileno(), *inherited])
        except OSError:
            reports.close()
            raise
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has already ended: its exit code says how
            core = claim.core if claim else None
            process.stdin.write(encode(list(jobs.values()), core, reports.fileno(), inherited).encode())
            process.stdin.flush()
        return LocalWorker(jobs, claim, process, reports, mark)

    def _process(self, device: str, mark: str, log: IO[bytes], inherited: Sequence[int]) -> Child:
        """A worker's process: forked from the template if that works, which takes a moment, or a new one."""
        environment = child_environment(device)
        if self._forks and device == "cpu":
            try:
                return self._template_with(environment).fork(mark, log.fileno(), inherited)
            except TemplateError:
                self._forks = False
                self.close()
        return subprocess.Popen(
            WORKER_COMMAND,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=inherited,
            env=environment | {MARK: mark},
            start_new_session=True,  # Ctrl-C in the terminal reaches this process only, which stops its workers
        )

    def _template_with(self, environment: Mapping[str, str]) -> Template:
        """The template, whose environment is this one."""
        if self._template is None or self._template.environment != environment:
            self.close()
            self._template = Template(environment)
        return self._template


@dataclass(eq=False)
class LocalWorker:
    """A child process and its jobs.

    Output that belongs to none of several jobs, such as a crash's traceback, goes to the log of the first.
    """

    jobs: Mapping[int, Job]
    _claim: Claim | None
    _process: Child
    _reports: IO[bytes]
    _mark: str
    _ends_by: float | None = None

    def queued(self) -> str:
        return ""

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def endings(self) -> dict[int, Ending]:
        code = self._process.poll()  # first: what it reported before it ended is then complete
        reported = read_reports(self._reports.fileno())
        others = None if code is None else Ending(code, began=BEGAN in reported)
        found = {number: reported.get(place, others) for place, number in enumerate(self.jobs)}
        return {number: ending for number, ending in found.items() if ending is not None}

    def stop(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended
            self._process.stdin.close()

    def terminate(self) -> None:
        if self._ends_by is None:
            self._ends_by = time.monotonic() + LEADER_SECONDS
            self._process.terminate()

    def kill(self) -> None:
        self.terminate()
        assert self._ends_by is not None
        end_families([(self._process, self._mark)], max(0.0, self._ends_by - time.monotonic()))
        self._process.wait()
        self.stop()  # closes the pipe
        self._reports.close()
        if self._claim:
            self._claim.release()
