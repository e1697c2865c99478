"""The process that workers on Linux are forked from: it has imported all that they need, and does nothing else.

Most of the time that a worker needs to start is imports, JAX's above all. A command imports them once, in a process of
its own (``python -m rlottery.study.execution.template``), and each worker begins as a copy of it. No code of the user
has run in the template, and JAX has no backend there, so it has a single thread and a copy is like a new process.

A worker is a child of the command, as if the command had started it: the template forks twice, and what it leaves
behind goes to the command, the nearest process that adopts orphans (PR_SET_CHILD_SUBREAPER). Where that can't be done,
for example on another system, `fork` raises `TemplateError`, and the command starts the worker as a new process.
"""

import contextlib
import ctypes
import errno
import fcntl
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from rlottery.processes.children import python_command
from rlottery.processes.descendants import MARK, new_mark

IMPORTED = ("jax", "rlottery.envs", "rlottery.study.stages.run_stage", "rlottery.training.learner")
"""What a worker imports whatever it does, with all that these import."""
READY_SECONDS, FORK_SECONDS = 60.0, 5.0
"""How long the template may take to import everything, and later to fork."""
ADOPTED_SECONDS = 5.0
"""How long a worker waits to become a child of the command."""
_MOST_FILES = 250
"""The most file descriptors in one message; Linux allows 253."""
NAME, WORKER_NAME = "rl-template", "rl-worker"
"""What `ps -o comm` and `top` call the template and its workers."""
_SET_NAME, _SET_SUBREAPER, _GET_SUBREAPER = 15, 36, 37
"""Options of prctl(2)."""


class TemplateError(Exception):
    """No worker can be forked here. It can be started as a new process."""


class Forked:
    """A process that the template has forked, a child of this one: as `subprocess.Popen`, as far as it is needed."""

    def __init__(self, pid: int, stdin: Any):
        self.pid, self.stdin = pid, stdin
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._wait(os.WNOHANG)

    def wait(self) -> int | None:
        return self._wait(0)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def _wait(self, how: int) -> int | None:
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, how)
            except ChildProcessError:  # the process that this one belongs to ignores how its children end
                pid, status = self.pid, 0
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


class Template:
    """Forks workers for this process.

    Args:
        environment: variables of the template and of its workers.

    Raises:
        OSError: the template can't be started.
    """

    def __init__(self, environment: Mapping[str, str]):
        self.environment = dict(environment)
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(READY_SECONDS)
        with other:
            try:
                self._process = subprocess.Popen(
                    [*python_command("rlottery.study.execution.template"), str(other.fileno()), str(os.getpid())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[other.fileno()],
                    env=self.environment | {MARK: new_mark()},  # of the length that a worker's has
                    start_new_session=True,
                )
            except OSError:
                self._socket.close()
                raise

    def fork(self, mark: str, log: int, inherited: Sequence[int]) -> Forked:
        """Start a worker.

        Args:
            mark: its `MARK`, of `new_mark`.
            log: where its output goes.
            inherited: file descriptors that it has under the same numbers.

        Raises:
            TemplateError: it can't be forked.
            OSError: this process can't open another pipe, or the system allows no other process.
        """
        if len(inherited) > _MOST_FILES:
            raise TemplateError("too many files")
        reads, writes = os.pipe()
        try:
            message = json.dumps([mark, list(inherited)]).encode()
            try:
                with _adopting_orphans():
                    socket.send_fds(self._socket, [message], [reads, log, *inherited])
                    answer = json.loads(self._socket.recv(1000) or b"null")
            except (OSError, ValueError) as error:  # it has ended, or takes too long
                raise TemplateError(str(error)) from error
            if not isinstance(answer, list):
                raise TemplateError("the template has ended")
            self._socket.settimeout(FORK_SECONDS)
            pid, number = answer
            if number:
                raise OSError(number, os.strerror(number))
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                return Forked(pid, os.fdopen(writes, "wb"))
            raise TemplateError("this system gives orphans to another process")
        except BaseException:
            os.close(writes)
            raise
        finally:
            os.close(reads)

    def close(self) -> None:
        """End the template. Its workers go on."""
        self._socket.close()
        self._process.kill()
        self._process.wait()


def forks_work() -> bool:
    """Whether this system can have a template."""
    return sys.platform == "linux"


@contextlib.contextmanager
def _adopting_orphans() -> Iterator[None]:
    """A context in which processes below this one that lose their parent become its children."""
    before = ctypes.c_int()
    if _prctl(_GET_SUBREAPER, ctypes.byref(before)) or _prctl(_SET_SUBREAPER, 1):
        raise TemplateError("the system doesn't allow it")
    try:
        yield
    finally:
        _prctl(_SET_SUBREAPER, before.value)


def _prctl(option: int, value: Any) -> int:
    """prctl(2) with one argument. Returns 0 unless it fails."""
    return int(ctypes.CDLL(None).prctl(option, value, 0, 0, 0))


def main(arguments: Sequence[str]) -> NoReturn:
    """The template: import, then fork whenever it is asked to, until the command closes its end or has died."""
    _prctl(_SET_NAME, NAME.encode())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would hide how what is forked ends
    asked, command = socket.socket(fileno=int(arguments[0])), int(arguments[1])
    gc.disable()  # what imports make stays, and each search for garbage would go through it
    for module in IMPORTED:
        importlib.import_module(module)
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        os._exit(1)  # a copy would have one thread, and locks that the others hold
    gc.collect()
    gc.freeze()
    gc.enable()
    mark = _Mark()
    while True:
        message, files, _, _ = socket.recv_fds(asked, 1 << 16, _MOST_FILES + 2)
        if not message:
            os._exit(0)
        value, numbers = json.loads(message)
        answer = _fork_orphan(partial(_begin_worker, asked, command, mark, value, files, (0, 1, *numbers)))
        for file in files:
            os.close(file)
        asked.send(json.dumps(answer).encode())


def _fork_orphan(begin: Callable[[], NoReturn]) -> tuple[int, int]:
    """Fork a process that does `begin`, and whose parent has ended. Returns its process id and 0, or 0 and `errno`."""
    reads, writes = os.pipe()
    try:
        parent = os.fork()
        if parent == 0:
            try:
                os.close(reads)
                os.write(writes, json.dumps(_fork(begin, writes)).encode())
            finally:
                os._exit(0)
        os.waitpid(parent, 0)
        os.close(writes)
        writes = -1
        pid, number = json.loads(os.read(reads, 1000) or f"[0, {errno.EAGAIN}]")
        return pid, number
    except OSError as error:
        return 0, error.errno or errno.EAGAIN
    finally:
        os.close(reads)
        if writes >= 0:
            os.close(writes)


def _fork(begin: Callable[[], NoReturn], answer: int) -> tuple[int, int]:
    """Fork a process that does `begin`, without the file `answer`. Returns its process id and 0, or 0 and `errno`."""
    try:
        pid = os.fork()
    except OSError as error:
        return 0, error.errno or errno.EAGAIN
    if pid == 0:
        try:
            os.close(answer)
            begin()
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(1)
    return pid, 0


def _begin_worker(
    asked: socket.socket, command: int, mark: "_Mark", value: str, files: Sequence[int], numbers: Sequence[int]
) -> NoReturn:
    """The worker: once it is the command's child, it gives its files these numbers, and works.

    Args:
        asked: the template's socket, which the worker closes.
        value: its `MARK`.
    """
    asked.close()
    mark.set(value)
    _prctl(_SET_NAME, WORKER_NAME.encode())
    os.setsid()
    os.dup2(files[1], 2)  # first, for what goes wrong
    deadline = time.monotonic() + ADOPTED_SECONDS
    while os.getppid() != command:
        if time.monotonic() > deadline:
            os._exit(1)
        time.sleep(0.001)
    above = max(2, *numbers, *files) + 1  # so that none takes the place of another
    moved = [fcntl.fcntl(file, fcntl.F_DUPFD, above) for file in files]
    for file, number in zip(moved, numbers, strict=True):
        os.dup2(file, number)
    for file in {*files, *moved} - {0, 1, 2, *numbers}:
        os.close(file)
    from rlottery.study.execution import worker

    worker.main()


class _Mark:
    """The variable `MARK` of this process, where the system shows it (/proc/PID/environ)."""

    def __init__(self) -> None:
        getenv = ctypes.CDLL(None).getenv
        getenv.restype = ctypes.c_void_p
        self._place, self._length = getenv(MARK.encode()), len(os.environ[MARK])

    def set(self, value: str) -> None:
        assert len(value) == self._length
        ctypes.memmove(self._place, value.encode(), self._length)
        os.environ[MARK] = value  # what programs that are started inherit


if __name__ == "__main__":
    main(sys.argv[1:])
