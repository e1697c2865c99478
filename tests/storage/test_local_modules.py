import sys
from pathlib import Path

import pytest

from rlottery.storage import local_modules
from rlottery.storage.open_study import allow_modules_of_run, config_from_file, config_from_study
from rlottery.storage.study_record import note_command

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
    sys.modules.pop("criterion_of_this_test", None)


def test_modules_next_to_the_config_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, elsewhere = tmp_path / "study", tmp_path / "elsewhere"
    for folder in (study, elsewhere):
        folder.mkdir()
    (study / "criterion_of_this_test.py").write_text(CRITERION)
    (study / "config.yaml").write_text(STUDY)
    monkeypatch.chdir(elsewhere)
    before = list(sys.path)
    config = config_from_file(study / "config.yaml", [f"data={study / 'data'}"])
    assert sys.path[: len(before)] == before  # they hide nothing
    assert sys.path[-2:] == [str(study), str(elsewhere)]
    note_command(config, has_work=True)
    # Another process, which only knows the data folder or a run.
    for open_again in (config_from_study, lambda data: allow_modules_of_run(data / "runs/Pendulum-v1/seed_0/dense")):
        sys.path[:] = before
        sys.modules.pop("criterion_of_this_test")
        local_modules._folders.clear()
        open_again(study / "data")
        assert str(study) in sys.path
        import criterion_of_this_test  # type: ignore[import-not-found]

        assert Path(criterion_of_this_test.__file__) == study / "criterion_of_this_test.py"
