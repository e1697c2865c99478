"""A worker process: ``python -m rlottery.study.execution.worker``, with its jobs as a line of JSON on standard input.

Several jobs are runs that train as one program; each has a thread (`rlottery.study.execution.worker_threads`).

The process that starts the worker sets its environment. The worker pins itself to its core before it imports JAX, and
imports JAX before any code of the user, which may set JAX's variables. It stops when its standard input ends, because
the process that holds the other end closed it or has died, and at SIGTERM: it saves a checkpoint at the end of the
training episode and ends. If that takes too long, it ends without one.

Environments run in this process, and may do to it what they like. So a thread watches the standard input, which no
signal handler of theirs can prevent; how each job ended is reported to a file that only this module knows; and the
process ends at once when all jobs have ended, whatever threads and exit handlers are left.
"""

import contextlib
import json
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Event, Thread
from time import sleep
from typing import TYPE_CHECKING, Any, NoReturn

from rlottery.agents.description import Spec
from rlottery.config import Config, config_to_dict, import_criteria
from rlottery.errors import RlotteryError, StoppedError
from rlottery.processes.descendants import MARK, kill_marked
from rlottery.processes.standard_streams import lasting_streams
from rlottery.processes.user_code import no_exit, seed_global_generators
from rlottery.safety.printable import printable
from rlottery.storage.locks import RunLock, hold
from rlottery.storage.work_place import adopt
from rlottery.study.execution.cores import pin
from rlottery.study.execution.endings import FAILED, STOPPED, Ending, ending_of
from rlottery.study.execution.reports import Reports
from rlottery.study.planning.arms import arms_of
from rlottery.study.planning.devices import NO_GPU
from rlottery.study.planning.jobs import Job, Key
from rlottery.study.planning.network_sizes import note_task, task_code, task_spec

if TYPE_CHECKING:
    from rlottery.envs import OpenEnvironments

SAVE_SECONDS = 20.0
"""How long a worker that is asked to stop may take to reach a checkpoint. Slurm kills 30 seconds after its warning."""
_STOPPING = frozenset({signal.SIGTERM, signal.SIGINT})
CLOSE_SECONDS = 10.0
"""How long environments may take to close, once all jobs have ended."""
FLUSH_SECONDS = 2.0
"""How long the last output may take to be written."""


def encode(jobs: Sequence[Job], core: int | None, endings: int | None = None, inherited: Sequence[int] = ()) -> str:
    """What a worker reads on standard input: jobs of one study, and the core to pin itself to. Ends with a newline.

    Args:
        endings: a file descriptor that the worker inherits. It writes a line of JSON there when a job has ended: the
            job's place among the jobs, its exit code, and a message.
        inherited: file descriptors that hold the locks of the jobs' runs, in this order, and others to keep open. If
            there are none, the worker takes the locks itself.
    """
    common = {"core": core, "parent": os.getpid(), "endings": endings, "inherited": list(inherited)}
    return json.dumps(encode_study(jobs[0].config) | {"jobs": encode_jobs(jobs)} | common) + "\n"


def encode_study(config: Config) -> dict[str, Any]:
    """What jobs of a study have in common."""
    settings = config_to_dict(config)
    settings["data"] = str(config.data.absolute())  # environments may go to another folder
    # The sizes that the task's trial has found: another environment, only to look at them, may do anything.
    return {"config": settings, "tasks": [(task_spec(task), task_code(task)) for task in config.tasks]}


def encode_jobs(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Which jobs of their study they are."""
    return [
        {"stage": job.stage, "task_index": job.task_index, "seed": job.seed}
        | {"arm": job.arm and job.arm.name, "method": job.arm and job.arm.method}
        for job in jobs
    ]


def decode(message: Any) -> list[Job]:
    """The jobs of a message that has what `encode_study` returns, and under "jobs" what `encode_jobs` does."""
    config, jobs = Config.model_validate(message["config"]), []
    import_criteria(config)
    for task, (spec, code) in zip(config.tasks, message["tasks"], strict=True):
        note_task(task, Spec(*spec), code)
    for sent in message["jobs"]:
        arms = {arm.name: arm for arm in arms_of(config, sent["method"])} if sent["arm"] else {}
        jobs.append(Job(config, sent["stage"], sent["task_index"], sent["seed"], arms.get(sent["arm"])))
    return jobs


def main() -> NoReturn:
    """Do the jobs on standard input, and end the process."""
    received = sys.stdin.readline()
    if not received:
        os._exit(STOPPED)  # the process that started this one has died
    message = json.loads(received)
    reports = Reports(message["endings"], len(message["jobs"]))
    own = _own_standard_input()
    with lasting_streams():  # the disk of the log may be full: what is printed is lost then
        try:
            _work(message, watch(own, reports, message["parent"]), reports)
        except BaseException as error:
            _say(traceback.format_exc())
            reports.report_rest(ending_of(error))
        end_process(reports.exit_code(), message["parent"])


def _work(message: Any, stop: Event, reports: Reports) -> None:
    for descriptor in message["inherited"]:  # first, so that nothing that is started here keeps the locks
        os.set_inheritable(descriptor, False)
    pin(message["core"])
    import jax

    # On one core, a second thread for dispatch only costs time.
    jax.config.update("jax_cpu_enable_async_dispatch", False)  # type: ignore[no-untyped-call]
    jax.devices()  # chosen now, whatever platform the user's code names later
    from rlottery.envs import OpenEnvironments  # before any code of the user, as JAX
    from rlottery.training.program_cache import use_program_cache

    use_program_cache()
    jobs = decode(message)  # imports criteria
    inherited = zip(jobs, message["inherited"], strict=False)
    locks = {job.key: adopt(job.files, descriptor, message["parent"]) for job, descriptor in inherited}
    work = partial(attempt, stop=stop, locks=locks)
    Thread(target=_end_if_closing_hangs, args=[reports, message["parent"]], daemon=True).start()

    def hung(message: str) -> None:
        # Runs that train together wait for each other, so all of them have ended.
        _say(f"error: {message}\n")
        reports.report_rest(Ending(FAILED, message))

    reports.begin()
    if len(jobs) == 1:
        from rlottery.training.learner import CpuLearner

        with OpenEnvironments(hung) as environments:
            reports.report(0, work(jobs[0], CpuLearner, environments))
    else:
        from rlottery.study.execution.worker_threads import run_together

        run_together(jobs, work, reports, hung, CLOSE_SECONDS)


def attempt(
    job: Job,
    make_learner: Callable[..., Any],
    environments: "OpenEnvironments",
    *,
    stop: Event,
    locks: Mapping[Key, RunLock],
) -> Ending:
    """Do a job. Returns how it ended; an error message is also the last thing in its log.

    Args:
        locks: those of runs that this process holds already, by job. They are released once the job has ended.
    """
    import jax

    from rlottery.study.stages.agents import streams_of
    from rlottery.study.stages.run_stage import run_stage

    try:
        if job.config.device == "cuda" and jax.default_backend() != "gpu":
            raise RlotteryError(NO_GPU)
        seed_global_generators(streams_of(job).for_purpose("global generators"))
        held = locks[job.key] if job.key in locks else hold(job.files)
        with held as lock, no_exit("A criterion, an environment or a library", RlotteryError):
            lock.watch_folder()

            def stop_wanted() -> bool:
                lock.check_intact()
                return stop.is_set()

            run_stage(job, stop_wanted, make_learner, environments)
    except Exception as error:
        ended = ending_of(error, job.config.data)
        plain = isinstance(error, RlotteryError | StoppedError) and error.__cause__ is None
        _say(f"{'error: ' * (ended.code == FAILED)}{error}\n" if plain else traceback.format_exc())
        return ended
    return Ending(0, "")


def watch(standard_input: int, reports: Reports, parent: int) -> Event:
    """An event that is set when standard input ends, or at SIGTERM or SIGINT.

    After another `SAVE_SECONDS` the process ends. The next start removes the files that it leaves half-written.
    """
    stop = Event()
    signalled, signals = os.pipe()

    def handle(number: int, frame: object) -> None:
        os.write(signals, bytes([number]))  # and not `stop.set`: a second signal inside it would wait for the first

    def wait() -> None:
        while standard_input not in select.select([standard_input, signalled], [], [])[0]:
            if not _STOPPING.isdisjoint(os.read(signalled, 64)):
                break
        stop.set()
        sleep(SAVE_SECONDS)
        late = "Stopped between two checkpoints: the training episode took too long."
        with contextlib.suppress(OSError):
            os.write(2, f"{late}\n".encode())
        reports.report_rest(Ending(STOPPED, late))
        end_process(STOPPED, parent)

    for number in _STOPPING:
        signal.signal(number, handle)
    # The handlers run in the main thread alone, and only once it wakes up: it may be waiting for others.
    os.set_blocking(signals, False)
    signal.set_wakeup_fd(signals, warn_on_full_buffer=False)
    Thread(target=wait, daemon=True).start()
    return stop


def end_process(code: int, parent: int) -> NoReturn:
    """End this process, without waiting for threads or calling exit handlers.

    If `parent`, the process that started this one, has died, this one also ends all that environments have started.
    """
    if os.getppid() != parent and (mark := os.environ.get(MARK)):
        kill_marked(mark)
    with contextlib.suppress(RuntimeError):  # no thread can be started
        flusher = Thread(target=_flush, daemon=True)  # a thread that hangs while it prints may hold the stream
        flusher.start()
        flusher.join(FLUSH_SECONDS)
    os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def _own_standard_input() -> int:
    """Standard input under another number. What the user's code reads is empty."""
    own, empty = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    # What is printed is in the log though the process may end in any way.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    return own


def _end_if_closing_hangs(reports: Reports, parent: int) -> None:
    reports.complete.wait()
    sleep(CLOSE_SECONDS)
    end_process(reports.exit_code(), parent)


def _say(text: str) -> None:
    """Write to the log, if that is possible: the disk may be full, or the stream closed."""
    with contextlib.suppress(Exception):
        print(printable(text), end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
