"""What a study says before its work begins."""

from pathlib import Path

import pytest

from rlottery.agents.kernels.library import Found
from rlottery.study import run
from rlottery.study.planning.plan import Tracked
from tests.study.studies import job, tiny_config


@pytest.mark.parametrize(
    ("stage", "found", "device", "told"),
    [
        ("ticket", Found("", "no compiler", "run: uv sync"), "cpu", True),
        ("ticket", Found("", "no compiler", "run: uv sync"), "cuda", False),
        ("dense", Found("", "no compiler", "run: uv sync"), "cpu", False),
        ("ticket", Found("avx2", "the widest"), "cpu", False),
    ],
)
def test_that_tickets_do_without_kernels_is_said_once(
    stage: str, found: Found, device: str, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "find", lambda: found)
    config, lines = tiny_config(tmp_path, f"device={device}"), []
    run._warn_without_kernels(config, [Tracked(job(config, stage, seed=seed)) for seed in range(3)], lines.append)
    assert len(lines) == told
    for line in lines:
        assert line.startswith(
            "The compiled kernels are off: no compiler. Tickets are trained on the masked dense path"
        )
        assert line.endswith("To turn the kernels on, run: uv sync")


def test_that_each_worker_tests_the_kernels_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Found("avx2", "the widest", uncached="/home/me/.cache/rlottery can't be written: Read-only file system")
    monkeypatch.setattr(run, "find", lambda: found)
    lines: list[str] = []
    run._warn_without_kernels(tiny_config(tmp_path), [Tracked(job(tiny_config(tmp_path), "dense"))], lines.append)
    (line,) = lines
    assert "/home/me/.cache/rlottery can't be written: Read-only file system. Each worker tests them again" in line
