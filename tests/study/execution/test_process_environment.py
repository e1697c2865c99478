import os

import pytest

from rlottery.study.execution.process_environment import worker_environment


def test_one_thread_and_no_accelerator() -> None:
    environment = worker_environment("cpu")
    assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == "1"
    assert environment["JAX_PLATFORMS"] == "cpu"
    assert "--xla_cpu_multi_thread_eigen=false" in environment["XLA_FLAGS"]


def test_the_users_own_flags_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_of_mine=1")
    assert worker_environment()["XLA_FLAGS"].startswith("--xla_of_mine=1 ")


def test_workers_import_what_this_process_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend("/modules/of/mine")
    assert worker_environment()["PYTHONPATH"].split(os.pathsep)[0] == "/modules/of/mine"
