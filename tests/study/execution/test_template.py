"""Workers that are forked from a process which has imported everything."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlottery.processes.children import child_environment
from rlottery.processes.descendants import MARK, end_families, new_mark
from rlottery.study.execution import local, template
from rlottery.study.execution.endings import STOPPED
from rlottery.study.execution.executor import Executor
from rlottery.study.execution.template import Forked, Template, TemplateError
from rlottery.study.planning.plan import JobState, Tracked
from tests.study.studies import job, tiny_config
from tests.waiting import is_alive, wait_for, wait_until_dead

pytestmark = pytest.mark.skipif(not template.forks_work(), reason="Linux alone lets a command adopt processes")


@pytest.fixture(scope="module")
def made() -> Iterator[Template]:
    of = Template(child_environment())
    yield of
    of.close()


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def files(pid: int) -> dict[int, str]:
    found = {}
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[int(path.name)] = str(path.readlink())
        except OSError:  # closed since
            continue
    return found


def test_a_worker_is_a_child_of_this_process_with_the_files_and_the_mark_that_it_was_given(
    made: Template, tmp_path: Path
) -> None:
    mark, given = new_mark(), tmp_path / "given"
    with (tmp_path / "log").open("wb") as log, given.open("wb") as one, given.open("wb") as two:
        worker = made.fork(mark, log.fileno(), [one.fileno(), two.fileno()])
        numbers = [one.fileno(), two.fileno()]
    try:
        expected = dict.fromkeys((1, 2), str(tmp_path / "log")) | dict.fromkeys(numbers, str(given))
        wait_for(lambda: {n: to for n, to in files(worker.pid).items() if str(tmp_path) in to} == expected)
        assert parent(worker.pid) == os.getpid() and os.getsid(worker.pid) == worker.pid
        assert f"{MARK}={mark}".encode() in Path(f"/proc/{worker.pid}/environ").read_bytes().split(b"\0")
        assert worker.poll() is None
    finally:
        worker.stdin.close()
    assert worker.wait() == worker.poll() == STOPPED  # nothing was on its standard input


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_how_a_worker_ended_is_known(made: Template, tmp_path: Path, number: int) -> None:
    mark = new_mark()
    with (tmp_path / "log").open("wb") as log:
        worker = made.fork(mark, log.fileno(), [])
    worker.send_signal(number)
    assert worker.wait() == -number
    worker.send_signal(number)  # to nobody
    end_families([(worker, mark)])
    worker.stdin.close()


def test_two_workers_share_nothing(made: Template, tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        first, second = (made.fork(new_mark(), log.fileno(), []) for _ in range(2))
    first.stdin.close()  # which the second doesn't hold open
    assert first.wait() == STOPPED and second.poll() is None
    second.stdin.close()
    assert second.wait() == STOPPED


def test_a_template_that_has_died_is_an_error_and_then_workers_are_new_processes(tmp_path: Path) -> None:
    backend = local.LocalBackend()
    tracked = [Tracked(job(tiny_config(tmp_path), "dense"))]
    config = tracked[0].job.config
    of = backend._template_with(child_environment(config.device))
    of._process.kill()
    with pytest.raises(TemplateError), (tmp_path / "log").open("wb") as log:
        of.fork(new_mark(), log.fileno(), [])
    kinds = []

    def changed() -> None:
        kinds.extend(type(worker._process) for worker in ran._workers)

    ran = Executor(tracked, 1, changed, backend=backend)
    ran.run()
    assert tracked[0].state is JobState.DONE, tracked[0].message
    assert set(kinds) == {subprocess.Popen}


LOOKS = """
import gc, os
from pathlib import Path

Path(f"{os.getpid()}.collects").write_text(str(gc.isenabled()))
"""
"""Notes whether its process collects garbage, which the template doesn't while it imports."""


def test_one_that_an_executor_has_started_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "looks.py").write_text(LOOKS)
    monkeypatch.chdir(tmp_path)
    tracked, seen = [Tracked(job(tiny_config(tmp_path, "tasks=[looks:Pendulum-v1]"), "dense"))], set[int]()
    backend = local.LocalBackend()

    def changed() -> None:
        assert all(isinstance(worker._process, Forked) for worker in ran._workers)
        if backend._template is not None:
            seen.add(backend._template._process.pid)

    ran = Executor(tracked, 1, changed, backend=backend)
    ran.run()
    assert tracked[0].state is JobState.DONE, tracked[0].message
    assert len(seen) == 1 and not is_alive(*seen)
    collects = {int(path.stem): path.read_text() for path in tmp_path.glob("*.collects")}
    assert {collects[pid] for pid in collects.keys() - {os.getpid()}} == {"True"}


def test_it_ends_when_its_command_dies(tmp_path: Path) -> None:
    command = f"""
import os, signal, sys
from rlottery.processes.descendants import new_mark
from rlottery.processes.children import child_environment
from rlottery.study.execution.template import Template
made = Template(child_environment())
with open({str(tmp_path / "log")!r}, "wb") as log:
    worker = made.fork(new_mark(), log.fileno(), [])
print(made._process.pid, worker.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", command], stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    for pid in done.stdout.split():  # the worker, too, whose standard input has ended
        wait_until_dead(int(pid))


def test_where_orphans_go_to_another_process_it_says_so(
    made: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template, "_adopting_orphans", contextlib.nullcontext)
    with pytest.raises(TemplateError, match="gives orphans to another"), (tmp_path / "log").open("wb") as log:
        made.fork(new_mark(), log.fileno(), [])


def test_a_command_that_ignores_how_its_children_end(tmp_path: Path) -> None:
    """As one that a daemon has started may."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    of = Template(child_environment())
    try:
        with (tmp_path / "log").open("wb") as log:
            worker = of.fork(new_mark(), log.fileno(), [])
        worker.stdin.close()
        worker.wait()
        wait_until_dead(worker.pid)
    finally:
        of.close()
        signal.signal(signal.SIGCHLD, before)


def test_what_goes_wrong_before_the_worker_works_is_in_its_log(made: Template, tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        worker = made.fork(new_mark(), log.fileno(), [])
    worker.stdin.write(b"nonsense\n")
    worker.stdin.close()
    assert worker.wait() == 1
    assert "JSONDecodeError" in (tmp_path / "log").read_text()
