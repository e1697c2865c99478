"""Limits of `ulimit` that are too low are named before a study starts, with the command that raises them."""

import resource
from pathlib import Path

import pytest

from rlottery.config import Config
from rlottery.errors import StudyError
from rlottery.study.resources import process_limits
from rlottery.study.resources.process_limits import check_process_limits
from tests.study.studies import job, tiny_config

# Pendulum-v1 has 3 observations and 1 action; actor 3-2-2 (mean and log-std), critics 4-5-1: 60 weights.
AGENT = 4 * (3 * 10 + 4 * 50)
OBSERVATIONS = 4 * 3 * 300


@pytest.fixture
def small(tmp_path: Path) -> Config:
    return tiny_config(tmp_path, "network.actor=[2]", "network.critic=[5]", "sac.batch_size=7")


def allow(monkeypatch: pytest.MonkeyPatch, which: int, allowed: int) -> None:
    unlimited = resource.RLIM_INFINITY
    soft = lambda asked: (allowed if asked == which else unlimited, unlimited)  # noqa: E731
    monkeypatch.setattr(process_limits.resource, "getrlimit", soft)


@pytest.mark.parametrize(("workers", "together", "needed"), [(1, 1, 20), (8, 1, 48), (1, 16, 80)])
def test_open_files(small: Config, monkeypatch: pytest.MonkeyPatch, workers: int, together: int, needed: int) -> None:
    allow(monkeypatch, resource.RLIMIT_NOFILE, needed)
    check_process_limits(small, [job(small, "dense")], workers, together)
    allow(monkeypatch, resource.RLIMIT_NOFILE, needed - 1)
    with pytest.raises(StudyError, match=f"`ulimit -n` allows only {needed - 1}. Run this first: ulimit -n {needed}"):
        check_process_limits(small, [job(small, "dense")], workers, together)


@pytest.mark.parametrize(("stage", "needed"), [("dense", OBSERVATIONS), ("ticket", AGENT), ("mask", 0)])
def test_file_sizes(small: Config, monkeypatch: pytest.MonkeyPatch, stage: str, needed: int) -> None:
    allow(monkeypatch, resource.RLIMIT_FSIZE, needed)
    check_process_limits(small, [job(small, stage)], 1, 1)
    if needed:
        allow(monkeypatch, resource.RLIMIT_FSIZE, needed - 1)
        with pytest.raises(StudyError, match="`ulimit -f` allows only .* kB. Run this first: ulimit -f unlimited"):
            check_process_limits(small, [job(small, stage)], 1, 1)
