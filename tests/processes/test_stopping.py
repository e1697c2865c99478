"""What signals do to a command, and to code that calls `main`. `python -m tests.signals` stops whole commands."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlottery.processes import stopping
from rlottery.processes.stopping import SIGNALS, OwnedProcess, StopSignals, say_when_stopped
from rlottery.processes.user_code import isolated
from tests.waiting import wait_until_dead


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[int, Any]]:
    """A shell's background jobs ignore SIGINT, and are left alone then. Here nothing is ignored."""
    monkeypatch.setattr(stopping, "_line", stopping.AGAIN)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler)
    yield dict.fromkeys(SIGNALS, signal.default_int_handler)
    for number, handler in before.items():
        signal.signal(number, handler)


def handled() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in SIGNALS}


def test_the_first_signal_is_noted_and_the_second_of_another_kind_too() -> None:
    with StopSignals() as signals:
        assert not signals.wanted()
        signal.raise_signal(signal.SIGTERM)
        assert signals.wanted() and signals.number == signal.SIGTERM


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_interrupts_while_there_is_nothing_to_save(number: signal.Signals) -> None:
    with StopSignals() as signals:
        with pytest.raises(KeyboardInterrupt) as interrupt, signals.at_once():
            signal.raise_signal(number)
        assert interrupt.value.args == (number,)
        signal.raise_signal(number)
        assert signals.number == number
        # One that came since anybody looked.
        with pytest.raises(KeyboardInterrupt) as interrupt, signals.at_once():
            pass
        assert interrupt.value.args == (number,)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_none_of_the_users_code(number: signal.Signals) -> None:
    with StopSignals() as signals, signals.at_once(), pytest.raises(KeyboardInterrupt), isolated("a module"):
        signal.raise_signal(number)


@pytest.mark.parametrize("make", [StopSignals, OwnedProcess])
def test_handlers_are_restored_and_what_is_ignored_stays_ignored(make: Any, handlers: dict[int, Any]) -> None:
    with make():
        assert not set(handled().values()) & set(handlers.values())
    assert handled() == handlers
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with make():
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) != handlers[signal.SIGTERM]
    assert handled() == handlers | {signal.SIGHUP: signal.SIG_IGN}


@pytest.mark.parametrize("make", [StopSignals, OwnedProcess])
def test_a_handler_that_was_not_set_by_python_stays(
    make: Any, handlers: dict[int, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = stopping.signal.getsignal
    with monkeypatch.context() as patch:
        patch.setattr("_signal.getsignal", lambda number: None if number == signal.SIGHUP else real(number))
        with make(), isolated("a module"):
            assert real(signal.SIGHUP) == handlers[signal.SIGHUP] and real(signal.SIGTERM) != handlers[signal.SIGTERM]
    assert handled() == handlers


@pytest.mark.parametrize("make", [StopSignals, OwnedProcess])
def test_in_another_thread_nothing_changes(make: Any, handlers: dict[int, Any]) -> None:
    seen = []

    def work() -> None:
        with make():
            seen.append(handled())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [handlers] and handled() == handlers


ENDS = """
import os, signal, subprocess, sys, time
from rlottery.processes import stopping
for number in stopping.SIGNALS:
    signal.signal(number, signal.SIG_DFL)
stopping.own_process()
stopping.say_when_stopped("Stopped. All is well.")
print("printed before", end="")
{setup}
try:
    os.kill(os.getpid(), signal.{name})
    time.sleep(600)
except BaseException:
    print("seen by code of others")
finally:
    print("finally")
"""
CHILD = """
from rlottery.processes.children import ChildCall
stopping.at_end(lambda: 1 / 0)
call = ChildCall("time:sleep", 600, seconds=600)
print("", call._process.pid, end="")
from rlottery.processes.user_code import isolated
inside = isolated("a module")  # where os._exit is another function
inside.__enter__()
"""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 75), ("SIGHUP", 75), ("SIGINT", 130)])
def test_a_command_ends_at_once_with_one_line(name: str, code: int) -> None:
    setup = CHILD if name == "SIGTERM" else ""
    ended = subprocess.run([sys.executable, "-c", ENDS.format(setup=setup, name=name)], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (code, "Stopped. All is well.\n")
    said, _, child = ended.stdout.rpartition(" ") if setup else (ended.stdout, "", "")
    assert said == "printed before"
    if child:
        wait_until_dead(int(child))


@pytest.mark.parametrize("full", ["stdout", "stderr"])
def test_a_command_ends_though_nobody_reads_what_it_says(full: str) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(1024))
    os.set_blocking(writer, True)
    code = ENDS.format(setup="stopping.FLUSH_SECONDS = 0.1", name="SIGTERM")
    out, errors = (writer if name == full else subprocess.PIPE for name in ("stdout", "stderr"))
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    arguments = [sys.executable, "-c", code]
    with subprocess.Popen(arguments, stdout=out, stderr=errors, env=buffered, text=True) as process:
        try:
            said = process.communicate(timeout=300)
        finally:
            process.kill()
            for end in (reader, writer):
                os.close(end)
    assert process.returncode == 75
    assert said == ((None, "Stopped. All is well.\n") if full == "stdout" else ("printed before", None))


def test_the_line_is_that_of_the_moment() -> None:
    assert stopping.line_when_stopped() == stopping.AGAIN
    say_when_stopped("another")
    assert stopping.line_when_stopped() == "another"
    assert [stopping.exit_code(number) for number in SIGNALS] == [130, 75, 75]


def test_handlers_are_there_before_anything_heavy_is_imported() -> None:
    code = (
        "import sys, rlottery.processes.stopping as stopping; "
        "print(sorted({'typing', 'signal', 'contextlib', 'enum', 'threading', 'typer'} & sys.modules.keys()))"
    )
    arguments = [sys.executable, "-S", "-c", code]
    found = subprocess.run(arguments, capture_output=True, text=True, env={"PYTHONPATH": str(Path.cwd())})
    assert found.stdout == "[]\n"
