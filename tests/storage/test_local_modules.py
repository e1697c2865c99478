"""Modules next to the config: found by a run from anywhere, and by nothing that only reads."""

import sys
from pathlib import Path

import pytest

from rlottery.config import Task
from rlottery.storage import local_modules, trust
from rlottery.storage.open_study import config_from_study, config_to_run
from rlottery.storage.study_record import note_command
from rlottery.storage.trust import allow_code_of_run, allow_code_of_study, note_run

CRITERION = "import numpy as np\n\ndef score(weights):\n    return np.abs(weights)\n"
STUDY = """
tasks: [Pendulum-v1]
seeds: [0]
arms: [{name: own, criterion: "criterion_of_this_test:score", sparsity: 0.5}]
"""


@pytest.fixture(autouse=True)
def _paths_of_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(local_modules, "_folders", [])
    monkeypatch.setattr(trust, "_ran", {})
    monkeypatch.setattr("rlottery.pruning.criteria._imported", {})
    sys.modules.pop("criterion_of_this_test", None)


def test_modules_next_to_the_config_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, elsewhere = tmp_path / "study", tmp_path / "elsewhere"
    for folder in (study, elsewhere):
        folder.mkdir()
    (study / "criterion_of_this_test.py").write_text(CRITERION)
    (study / "config.yaml").write_text(STUDY)
    monkeypatch.chdir(elsewhere)
    before = list(sys.path)
    config = config_to_run(study / "config.yaml", [f"data={study / 'data'}"])
    assert sys.path[: len(before)] == before  # they hide nothing
    assert sys.path[-2:] == [str(study), str(elsewhere)]
    assert config.arms[0].scoring is not None
    note_command(config, has_work=True, ran=note_run(config))

    def as_a_new_process() -> None:
        sys.path[:] = before
        sys.modules.pop("criterion_of_this_test", None)
        local_modules._folders.clear()
        trust._ran.clear()

    # Another process, which only knows the data folder or a run, reads them without any module.
    as_a_new_process()
    again = config_from_study(study / "data")
    assert sys.path == before and "criterion_of_this_test" not in sys.modules
    # One that needs them finds those of the record, and not what the current folder happens to have.
    run = study / "data/runs/Pendulum-v1/seed_0/dense"
    for allow in (
        lambda: allow_code_of_run(run, Task(id="Pendulum-v1"), trust=False, what="A video"),
        lambda: allow_code_of_study(again, trust=False, what="A video"),
    ):
        as_a_new_process()
        allow()
        assert sys.path == [*before, str(study)]
        import criterion_of_this_test  # type: ignore[import-not-found]

        assert Path(criterion_of_this_test.__file__) == study / "criterion_of_this_test.py"
