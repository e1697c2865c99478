"""What code of the user may do to the process."""

import os
import random
import signal
import sys
import threading
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlottery.errors import MaskError, TaskError
from rlottery.processes import user_code
from rlottery.processes.user_code import isolated, jax_settings, no_exit, same_random_numbers, seed_global_generators


def leaves(code: object = None) -> None:
    sys.exit(code)  # type: ignore[arg-type]


def interrupts() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (leaves, "tried to end the process with sys.exit()"),
        (lambda: leaves(0), "tried to end the process with sys.exit(0)"),
        (lambda: leaves("bye"), "tried to end the process with sys.exit('bye')"),
        (interrupts, "raised KeyboardInterrupt"),
    ],
)
def test_the_end_of_the_process_is_an_error_with_its_place(work: Callable[[], None], words: str) -> None:
    with pytest.raises(MaskError) as raised, no_exit("the task", MaskError):
        work()
    line = (interrupts if work is interrupts else leaves).__code__.co_firstlineno + 1
    assert str(raised.value) == f"the task {words} in {__file__}, line {line}"


def test_a_parsers_end_is_told_with_the_line_that_asked_for_it() -> None:
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("--needed", required=True)
    with pytest.raises(TaskError, match=r"sys\.exit\(2\) in .*test_user_code\.py, line"), isolated("the task"):
        parser.parse_args()


def test_an_immediate_exit_is_one_too_but_for_other_threads_and_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    exits: list[int] = []
    monkeypatch.setattr(os, "_exit", exits.append)
    words = r"^the task tried to end the process with os\._exit\(0\) in .*test_user_code\.py, line"
    with pytest.raises(TaskError, match=words), isolated("the task"):
        os._exit(0)
    with isolated("the task"):
        thread = threading.Thread(target=lambda: os._exit(1))
        thread.start()
        thread.join()
        monkeypatch.setattr(os, "getpid", lambda: 0)  # as in a child that was forked
        os._exit(2)
    os._exit(3)
    assert exits == [1, 2, 0, 3]  # 0: so does the context, in a child


@pytest.mark.parametrize(
    ("ends", "code"),
    [(lambda: sys.exit(0), 0), (lambda: sys.exit(), 0), (lambda: sys.exit("why"), 1), (int, 0), ([].pop, 1)],
)
def test_a_forked_process_ends_where_it_was_forked(ends: Callable[[], object], code: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other threads of this process are lost in the fork, which doesn't need them
        with no_exit("The code"):
            if (child := os.fork()) == 0:
                ends()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code


def test_other_errors_are_raised_as_they_are() -> None:
    with pytest.raises(ValueError, match="^joint 3$"), no_exit("the task"):
        raise ValueError("joint 3")


def test_a_real_interrupt_is_none_of_the_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), isolated("the task"):
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_a_module_sets_does_not_outlast_its_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["rlottery", "run", "config.yaml"])
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for name, value in (("XLA_FLAGS", "--mine"), ("OMP_NUM_THREADS", "1"), ("MUJOCO_GL", "glfw")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NUMEXPR_NUM_THREADS", raising=False)
    filters, errors, arguments = list(warnings.filters), np.geterr(), sys.argv
    variables = dict(os.environ)
    with isolated("the task"):
        assert sys.argv == ["rlottery"]
        for number in handlers:
            signal.signal(number, signal.SIG_IGN)
        warnings.simplefilter("error")
        np.seterr(all="raise")
        sys.argv = ["other"]
        os.environ |= {"XLA_FLAGS": "--other", "NUMEXPR_NUM_THREADS": "8", "JAX_PLATFORMS": "cuda", "MUJOCO_GL": "egl"}
        del os.environ["OMP_NUM_THREADS"]
    assert dict(os.environ) == variables | {"MUJOCO_GL": "egl"}
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    assert (list(warnings.filters), np.geterr(), sys.argv) == (filters, errors, arguments)


@pytest.fixture
def jax_config(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The settings of a JAX that isn't there, so that no other test computes with them."""
    values = {"jax_enable_x64": False, "jax_default_matmul_precision": None, "jax_platforms": "cpu", "jax_log": 0}
    config = types.SimpleNamespace(values=values, update=values.__setitem__)
    monkeypatch.setitem(sys.modules, "jax", types.SimpleNamespace(config=config))  # type: ignore[arg-type]
    return config


def test_settings_of_jax_that_change_numbers_are_restored_and_refused(jax_config: Any) -> None:
    advice = r"the task turns on jax_enable_x64 .* `with jax.enable_x64\(True\):`"
    with pytest.raises(TaskError, match=advice), isolated("the task"):
        jax_config.update("jax_enable_x64", True)
    advice = "it sets jax_default_matmul_precision to 'high' for the whole process"
    with pytest.raises(MaskError, match=advice), isolated("it", MaskError):
        jax_config.update("jax_default_matmul_precision", "high")
    before = dict(jax_config.values)
    with isolated("the task"):
        jax_config.update("jax_platforms", "gpu")  # only restored
    assert jax_config.values == before
    assert (before["jax_enable_x64"], before["jax_default_matmul_precision"]) == (False, None)
    with isolated("the task"):
        jax_config.update("jax_log", 1)
    assert jax_config.values["jax_log"] == 1


def test_a_module_that_imports_jax_first_may_not_turn_on_64_bits(
    jax_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    jax = sys.modules["jax"]

    def imports_jax() -> None:
        monkeypatch.setitem(sys.modules, "jax", jax)
        jax_config.update("jax_enable_x64", os.environ.get("JAX_ENABLE_X64") == "True")

    monkeypatch.delenv("JAX_ENABLE_X64", raising=False)
    monkeypatch.delitem(sys.modules, "jax")
    with pytest.raises(TaskError, match="the task turns on jax_enable_x64"), isolated("the task"):
        os.environ["JAX_ENABLE_X64"] = "True"
        imports_jax()
    assert "JAX_ENABLE_X64" not in os.environ and not jax_config.values["jax_enable_x64"]
    monkeypatch.setenv("JAX_ENABLE_X64", "True")  # it was not the module
    monkeypatch.delitem(sys.modules, "jax")
    with isolated("the task"):
        imports_jax()


def test_other_settings_of_a_jax_that_the_module_imports_are_refused_too(
    jax_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    jax = sys.modules["jax"]
    monkeypatch.delitem(sys.modules, "jax")
    monkeypatch.delenv("JAX_DEFAULT_MATMUL_PRECISION", raising=False)
    with pytest.raises(TaskError, match="sets jax_default_matmul_precision to 'high'"), isolated("the task"):
        monkeypatch.setitem(sys.modules, "jax", jax)
        jax_config.update("jax_default_matmul_precision", "high")
    assert jax_config.values["jax_default_matmul_precision"] is None


@pytest.mark.parametrize("imported", [True, False])
def test_a_variable_that_asks_for_64_bits_is_refused_though_it_has_no_effect(
    imported: bool, jax_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JAX_ENABLE_X64", raising=False)
    if not imported:
        monkeypatch.delitem(sys.modules, "jax")
    with pytest.raises(TaskError, match="the task sets JAX_ENABLE_X64 for the whole process"), isolated("the task"):
        os.environ["JAX_ENABLE_X64"] = "True"
    assert "JAX_ENABLE_X64" not in os.environ


def test_the_installed_jax_has_all_settings_that_are_watched() -> None:
    import jax

    found = jax_settings()
    defaults = user_code._JAX_DEFAULTS
    assert {name: found[name] for name in defaults} == defaults
    assert set(found) == {*user_code._JAX_SETTINGS, *user_code._JAX_PLACES}
    for name, value in found.items():  # each can be restored
        jax.config.update(name, value)
    assert jax_settings() == found


def test_global_generators_repeat() -> None:
    def draw() -> tuple[float, float]:
        return random.random(), float(np.random.random())

    states = random.getstate(), np.random.get_state()
    try:
        seed_global_generators(2**63)
        first = draw()
        seed_global_generators(2**63)
        assert draw() == first
        seed_global_generators(2**63 + 1)
        assert draw() != first
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def test_what_is_drawn_while_an_environment_is_made_is_the_same_everywhere() -> None:
    before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    drawn = []
    for _ in range(2):
        with same_random_numbers():
            drawn.append((random.random(), np.random.random()))
    assert drawn[0] == drawn[1]
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # type: ignore[index]


def test_a_place_in_an_installed_package_counts(tmp_path: Path) -> None:
    file = tmp_path / "site-packages" / "simulator.py"
    code = compile("raise SystemExit", str(file), "exec")
    with pytest.raises(TaskError, match=f"in {file}, line 1$"), no_exit("the task"):
        exec(code)
