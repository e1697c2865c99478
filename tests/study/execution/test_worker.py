"""How a worker stops and ends; what it does while it lives is tested through the pipeline."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlottery.agents.description import Spec
from rlottery.envs import OpenEnvironments
from rlottery.errors import MaskError, RlotteryError, StoppedError
from rlottery.study.execution import worker
from rlottery.study.execution.endings import DISK_FULL, FAILED, STOPPED, Ending
from rlottery.study.execution.reports import Reports, read_reports
from rlottery.study.planning import network_sizes
from rlottery.study.planning.arms import arms_of
from rlottery.study.planning.jobs import list_jobs
from rlottery.study.stages import run_stage
from rlottery.training.learner import CpuLearner
from tests.study.studies import job, tiny_config
from tests.waiting import wait_until_dead

PRELUDE = """
import atexit, os, signal, subprocess, sys, threading, time
from pathlib import Path
from rlottery.study.execution import worker
from rlottery.study.execution.reports import Reports
worker.SAVE_SECONDS = {grace}
stop = worker.watch(worker._own_standard_input(), Reports(None, 1), parent=0)  # it has died
"""


def ended(code: str, grace: float) -> subprocess.CompletedProcess[str]:
    """A process that watches its standard input, which ends when the code creates the file `end`."""
    prelude = PRELUDE.format(grace=grace)
    return subprocess.run([sys.executable, "-c", prelude + code], capture_output=True, text=True, timeout=900, input="")


def test_a_worker_that_is_told_to_end_goes_on_until_it_has_saved() -> None:
    # Its environment has handlers of its own, and leaves a thread and an exit handler.
    code = """
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
assert stop.wait(600)
threading.Thread(target=time.sleep, args=[600]).start()
atexit.register(os._exit, 7)
print("told and saved", end="")
worker.end_process(5, parent=0)
"""
    result = ended(code, grace=600)
    assert (result.returncode, result.stdout, result.stderr) == (5, "told and saved", "")


def test_a_worker_that_cannot_save_in_time_ends_whatever_it_does() -> None:
    code = """
os.environ["RLOTTERY_CHILD"] = "the worker of this test"
quiet = subprocess.DEVNULL
print(subprocess.Popen(["sleep", "600"], start_new_session=True, stdout=quiet, stderr=quiet).pid)
sys.stdout.flush, worker.FLUSH_SECONDS = lambda: time.sleep(600), 0.1
while True:
    try:
        time.sleep(600)
    except BaseException:
        pass
"""
    result = ended(code, grace=0.5)
    assert result.returncode == STOPPED
    wait_until_dead(int(result.stdout))  # the command, which would have ended it, has died
    assert result.stderr == "Stopped between two checkpoints: the training episode took too long.\n"


def test_signals_stop_a_worker_too() -> None:
    reader, writer = os.pipe()  # standard input that doesn't end
    code = f"""
import os, signal
from rlottery.study.execution import worker
from rlottery.study.execution.reports import Reports
for number in (signal.SIGTERM, signal.SIGINT):
    stop = worker.watch({reader}, Reports(None, 1), os.getppid())
    assert not stop.is_set()
    os.kill(os.getpid(), number)
    os.kill(os.getpid(), number)
    assert stop.wait(600)
worker.end_process(0, os.getppid())
"""
    subprocess.run([sys.executable, "-c", code], pass_fds=[reader], timeout=900, check=True)
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize(
    ("raised", "ending"),
    [
        (MaskError("no such mask"), Ending(FAILED, "no such mask")),
        (ValueError("joint 3"), Ending(FAILED, "ValueError: joint 3")),
        (StoppedError("saved"), Ending(STOPPED, "saved")),
        (OSError(errno.ENOSPC, "full"), Ending(DISK_FULL, "OSError: [Errno 28] full")),
        (OSError(errno.ENOENT, "gone"), Ending(FAILED, "FileNotFoundError: [Errno 2] gone")),
        (SystemExit(0), Ending(FAILED, "tried to end the process with sys.exit(0) in ")),
        (KeyboardInterrupt(), Ending(FAILED, "raised KeyboardInterrupt in ")),
    ],
)
def test_whatever_a_job_raises_is_its_end(
    raised: BaseException,
    ending: Ending,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr(run_stage, "run_stage", fail)
    asked = job(tiny_config(tmp_path), "dense")
    asked.files.folder.mkdir(parents=True)
    found = worker.attempt(asked, CpuLearner, OpenEnvironments(), stop=worker.Event(), locks={})
    assert found.code == ending.code and found.report is not None and ending.report is not None
    assert ending.report in found.report
    log = capsys.readouterr().err
    assert ending.report in log or f"{type(raised).__name__}: {raised}".strip(": ") in log
    assert ("Traceback" in log) != isinstance(raised, RlotteryError | StoppedError)


def test_a_worker_has_an_absolute_data_folder_and_the_sizes_of_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(network_sizes, "_known", {})
    config = tiny_config(tmp_path).model_copy(update={"data": Path("results")})
    network_sizes.note_task(config.tasks[0], Spec(7, 2), "")  # not those of an environment, which nobody makes
    sent = worker.encode([job(config, "dense")], core=None)
    assert sent.endswith("}\n") and sent.count("\n") == 1
    monkeypatch.setattr(network_sizes, "_known", {})
    (received,) = worker.decode(json.loads(sent))
    assert received.config.data == tmp_path / "results"
    assert network_sizes.task_spec(received.task) == Spec(7, 2)


@pytest.mark.parametrize("method", ["magnitude", "gradient"])
def test_a_worker_knows_the_controls_of_each_method(tmp_path: Path, method: str) -> None:
    config = tiny_config(tmp_path, "pruning.controls=[random, dense-again]")
    network_sizes.note_task(config.tasks[0], Spec(3, 1), "")
    asked = list_jobs(config, arms_of(config, method), ("ticket",))
    assert len(asked) == 3
    received = worker.decode(json.loads(worker.encode(asked, core=None)))
    assert [one.arm for one in received] == [one.arm for one in asked]


def test_nothing_that_a_worker_starts_keeps_the_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "lock").open("w") as lock:
        os.set_inheritable(lock.fileno(), True)

        def begin(core: int | None) -> None:
            assert not os.get_inheritable(lock.fileno())
            raise StoppedError("JAX and criteria would be imported now")

        monkeypatch.setattr(worker, "pin", begin)
        with pytest.raises(StoppedError):
            worker._work({"inherited": [lock.fileno()], "core": None}, worker.Event(), Reports(None, 1))


def test_the_users_code_is_imported_after_jax_is_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import jax

    def decode(message: object) -> None:
        assert not jax.config.values["jax_cpu_enable_async_dispatch"]
        raise MaskError("a criterion is imported")

    before = jax.config.values["jax_cpu_enable_async_dispatch"]
    jax.config.update("jax_cpu_enable_async_dispatch", True)
    monkeypatch.setattr(worker, "decode", decode)
    try:
        with pytest.raises(MaskError, match="a criterion is imported"):
            worker._work({"core": None, "parent": 0, "inherited": []}, worker.Event(), Reports(None, 1))
    finally:
        jax.config.update("jax_cpu_enable_async_dispatch", before)


@pytest.mark.parametrize("died", [True, False])
def test_a_close_that_hangs_leaves_nothing_though_the_command_has_died(
    died: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, codes, reports = list[str](), list[int](), Reports(None, 1)
    monkeypatch.setenv("RLOTTERY_CHILD", "this one")
    monkeypatch.setattr(worker, "CLOSE_SECONDS", 0.0)
    monkeypatch.setattr(worker, "kill_marked", found.append)
    monkeypatch.setattr(os, "_exit", codes.append)
    reports.report(0, Ending(FAILED, ""))
    worker._end_if_closing_hangs(reports, 0 if died else os.getppid())
    assert (found, codes) == (["this one"] * died, [FAILED])


def test_a_report_that_a_full_disk_has_cut_off_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    with (tmp_path / "reports").open("w+b") as file:
        reports = Reports(file.fileno(), 3)
        monkeypatch.setattr(os, "write", lambda file, content: write(file, content[:12]))
        reports.report(0, Ending(FAILED, "a message"))
        assert read_reports(file.fileno()) == {}
        monkeypatch.undo()
        reports.report(1, Ending(STOPPED, "saved"))
        assert read_reports(file.fileno()) == {1: Ending(STOPPED, "saved")}
    assert reports.exit_code() == 0


def test_the_first_report_of_a_job_counts(tmp_path: Path) -> None:
    with (tmp_path / "reports").open("w+b") as file:
        reports = Reports(file.fileno(), 2)
        reports.report(1, Ending(FAILED, "x" * 100_000))
        assert not reports.complete.is_set()
        reports.report_rest(Ending(STOPPED, "late"))
        assert reports.complete.is_set() and reports.exit_code() == 0
        found = read_reports(file.fileno())
    assert found[0] == Ending(STOPPED, "late")
    assert found[1].code == FAILED and found[1].report is not None and 1_000 < len(found[1].report) < 10_000
