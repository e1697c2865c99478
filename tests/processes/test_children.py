import os
import subprocess
import sys
import time
from typing import Any

import pytest

from rlottery.errors import MaskError
from rlottery.processes.children import ChildError, call_in_child, child_environment, ended_by
from tests.waiting import wait_until_dead


def answer(value: Any, other: Any) -> Any:
    print("not an answer", sys.argv)
    os.write(1, b"nor this")
    started = [subprocess.Popen(["sleep", "600"], start_new_session=new_session).pid for new_session in (False, True)]
    return [value, other, len(sys.argv), started]


def fail_in_own_words() -> None:
    raise MaskError("the mask of the child")


def fail_otherwise() -> None:
    raise ValueError("joint 3")


def leave() -> None:
    sys.exit(0)


def leave_at_once() -> None:
    os._exit(0)


def hang() -> None:
    time.sleep(600)


def call(function: Any, *arguments: Any, seconds: float = 60.0) -> Any:
    return call_in_child(f"{__name__}:{function.__name__}", *arguments, seconds=seconds)


def test_a_call_returns_what_the_function_returns() -> None:
    *found, started = call(answer, {"a": float("inf")}, ["b", None])
    assert found == [{"a": float("inf")}, ["b", None], 1]
    for process in started:  # in the child's session, and in one of its own
        wait_until_dead(process)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (fail_in_own_words, MaskError, "the mask of the child"),
        (fail_otherwise, ChildError, "ValueError: joint 3"),
        (leave, ChildError, "SystemExit: 0"),
        (leave_at_once, ChildError, "its process ended with exit code 0"),
    ],
)
def test_a_call_raises_what_the_function_raises_or_how_its_process_ended(
    function: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call(function)


def test_a_call_that_hangs_is_ended() -> None:
    with pytest.raises(ChildError, match="its process gave no answer within 1 seconds"):
        call(hang, seconds=1)


@pytest.mark.parametrize(
    ("code", "words"),
    [(3, "ended with exit code 3"), (-11, "was killed by SIGSEGV"), (-200, "was killed by signal 200")],
)
def test_how_a_process_ended(code: int, words: str) -> None:
    assert ended_by(code) == words


def test_one_thread_and_no_accelerator() -> None:
    environment = child_environment("cpu")
    assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == "1"
    assert environment["JAX_PLATFORMS"] == "cpu"
    assert "--xla_cpu_multi_thread_eigen=false" in environment["XLA_FLAGS"]


def test_the_users_own_flags_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_of_mine=1")
    assert child_environment()["XLA_FLAGS"].startswith("--xla_of_mine=1 ")


def test_a_flag_that_is_given_already_is_not_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """JAX finds a kept program by all flags: a process that was started like a worker has the programs of workers."""
    own = child_environment()["XLA_FLAGS"].split()[-1]
    monkeypatch.setenv("XLA_FLAGS", f"{own} --xla_of_mine=1")
    assert child_environment()["XLA_FLAGS"] == f"--xla_of_mine=1 {own}"


def test_variables_that_change_numbers_or_warnings_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    changing = ("JAX_ENABLE_X64", "JAX_DEFAULT_MATMUL_PRECISION", "JAX_NUMPY_RANK_PROMOTION", "PYTHONWARNINGS")
    harmless = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "JAX_CUDA_VISIBLE_DEVICES")
    for name in (*changing, *harmless):
        monkeypatch.setenv(name, "1")
    environment = child_environment()
    assert not environment.keys() & set(changing)
    assert all(environment[name] == "1" for name in harmless)
    assert environment["PYTHONHASHSEED"] == "0"


def test_children_import_what_this_process_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend("/modules/of/mine")
    assert child_environment()["PYTHONPATH"].split(os.pathsep)[0] == "/modules/of/mine"
