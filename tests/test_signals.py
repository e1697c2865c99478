"""Commands that are stopped by signals end as documented. `python -m tests.signals` tries it at many more moments."""

import signal
import sys
from pathlib import Path

import pytest

from rlottery.config import load_config
from tests.faults import make_study, workers_of
from tests.signals import CODES, faults_of, left_over, start, stop, try_command
from tests.study.studies import TINY, write_study
from tests.waiting import PATIENCE_SECONDS, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def test_a_command_ends_as_documented_from_its_first_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path / "study", TINY)
    with monkeypatch.context() as patch:
        patch.chdir(study)
        write_study(load_config("config.yaml"))
    for number, after in ((signal.SIGTERM, 0.0), (signal.SIGINT, 0.0), (signal.SIGHUP, 0.1), (signal.SIGTERM, 0.3)):
        assert try_command(study, ("status",), number, after, longest=PATIENCE_SECONDS) == []


def test_a_study_that_is_planned_ends_at_once_with_its_children(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", TINY)
    process = start(study, "run", "config.yaml")
    wait_for(lambda: workers_of(process), process)  # the task is tried
    ended = stop(study, process, signal.SIGTERM, after=0.0)
    assert ended.code == CODES[signal.SIGTERM]
    assert faults_of(ended, signal.SIGTERM, longest=PATIENCE_SECONDS) + left_over(study) == []
    assert ended.errors == "Stopped. Run the same command again.\n"
    assert not (study / "data").exists()
