import json
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from rlottery.config import Config, Task
from rlottery.errors import ConfigError, TaskError
from rlottery.processes.children import ChildCall
from rlottery.report.collect import collect
from rlottery.report.headline import headline
from rlottery.storage.manifests import read_sealed, write_sealed
from rlottery.storage.paths import Store
from rlottery.storage.trial_record import code_name, read_trial
from rlottery.study.check import check_task
from rlottery.study.planning import trials
from rlottery.study.planning.plan import plan_study
from rlottery.study.status import status_table
from tests.envs.test_trial import Walk
from tests.study.studies import change_manifest, shown, tiny_config, write_dense

MODULE = """\
import gymnasium
from tests.envs.test_trial import {name} as Class

gymnasium.register("Own-v0", entry_point=lambda **kwargs: Class())
"""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks that are tried in a process of their own."""
    tried: list[str] = []

    def call(function: str, task: str, *arguments: Any, **how: Any) -> ChildCall:
        tried.append(task)
        return ChildCall(function, task, *arguments, **how)

    monkeypatch.setattr(trials, "ChildCall", call)
    monkeypatch.setattr(trials, "_made", {})
    return tried


def own_task(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str) -> None:
    (folder / f"{module}.py").write_text(MODULE.format(name=name))
    monkeypatch.syspath_prepend(folder)


def planned(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command does with trials, in a new process."""
    trials.try_tasks(config)
    trials.record_trials(config)
    monkeypatch.setattr(trials, "_made", {})


def _without(record: Path, key: str) -> None:
    content: Any = read_sealed(record)
    del content["trial"][key]
    write_sealed(record, content)


def test_a_task_is_tried_once(tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    own_task(tmp_path, monkeypatch, "Walk", "walks")
    config = tiny_config(tmp_path, "tasks=['walks:Own-v0']")
    planned(config, monkeypatch)
    planned(config, monkeypatch)
    assert calls == ["walks:Own-v0"]
    record = Store(config.data).trial("walks_Own-v0")
    _without(record, "discrete")  # as records were before there were discrete actions
    planned(config, monkeypatch)
    assert calls == ["walks:Own-v0"]
    # Another trial if its code, its arguments or a package changes, or the record is damaged.
    with (tmp_path / "walks.py").open("a") as module:
        module.write("# changed")
    planned(config, monkeypatch)
    assert len(calls) == 2
    planned(tiny_config(tmp_path, "tasks=[{id: 'walks:Own-v0', kwargs: {max_episode_steps: 5}}]"), monkeypatch)
    assert len(calls) == 3
    record.write_bytes(record.read_bytes()[:-9])
    assert read_trial(Store(config.data), config.tasks[0]) is None
    planned(config, monkeypatch)
    assert len(calls) == 4
    monkeypatch.setattr(trials, "version", lambda name: "0.0")
    planned(config, monkeypatch)
    assert len(calls) == 5


def test_deviations_are_refused_or_allowed_and_repeated(
    tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own_task(tmp_path, monkeypatch, "OneWorld", "worlds")
    config = tiny_config(tmp_path, "tasks=['worlds:Own-v0']")
    with pytest.raises(TaskError) as refused:
        trials.try_tasks(config)
    assert "while another environment is in use" in str(refused.value)
    assert "give this task the key `allow: [interference]`" in str(refused.value)
    allowing = tiny_config(tmp_path, "tasks=[{id: 'worlds:Own-v0', allow: [interference]}]")
    planned(allowing, monkeypatch)
    assert calls == ["worlds:Own-v0"]
    said = "worlds:Own-v0 deviates from what comparisons rely on (interference, which the config allows)"
    assert said in shown(status_table(allowing), width=400)
    assert said in headline(collect(Store(allowing.data), allowing)).lines[-1]
    # The record doesn't replace the key.
    with pytest.raises(TaskError, match="interference"):
        trials.try_tasks(config)


def test_what_allows_a_deviation_fits_the_number_of_environments(
    tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own_task(tmp_path, monkeypatch, "KeepsItsSpeed", "carries")
    several = tiny_config(tmp_path, "tasks=['carries:Own-v0']", "training.environments=2")
    keys = "the keys `allow: [carryover]` and `training: {environments: 1}`; reports will repeat this."
    with pytest.raises(TaskError) as refused:
        trials.try_tasks(several)
    assert str(refused.value).endswith(keys)
    task = "tasks=[{id: 'carries:Own-v0', allow: [carryover], training: {environments: 1}}]"
    trials.try_tasks(tiny_config(tmp_path, task, "training.environments=2"))


def test_what_a_trial_noticed_is_said_while_there_is_work(
    tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own_task(tmp_path, monkeypatch, "Endless", "endless")
    config, said = tiny_config(tmp_path, "tasks=['endless:Own-v0']"), list[str]()
    tracked = plan_study(config, None, ("dense",), say=said.append)
    (line,) = said
    assert line.startswith("endless:Own-v0: The first episode hasn't ended after 1,000 steps.")
    assert "kwargs: {max_episode_steps: 1000}" in line
    monkeypatch.setattr("rlottery.study.planning.plan.is_done", lambda job, pending: True)
    assert len(plan_study(config, None, ("dense",), say=said.append)) == len(tracked)
    assert said == [line]


def test_unknown_deviations_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be unseeded, carryover or interference, not 'noise'"):
        tiny_config(tmp_path, "tasks=[{id: Pendulum-v1, allow: [noise]}]")


def test_a_task_that_only_this_process_knows(calls: list[str]) -> None:
    gymnasium.register("OnlyHere-v0", entry_point=Walk)
    try:
        with pytest.raises(TaskError, match="registered in this process.*my_module:OnlyHere-v0"):
            trials.try_task(Task(id="OnlyHere-v0"))
    finally:
        gymnasium.registry.pop("OnlyHere-v0")


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("import os\nos._exit(0)", r"tried to end the process with os._exit\(0\) in .*line 2"),
        ("import sys\nsys.exit()", r"tried to end the process with sys.exit\(\) in .*line 2"),
        (
            "import argparse\nargparse.ArgumentParser().parse_args()",
            r"imported from .*script_of_mine.py, but doesn't register it",
        ),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ],
)
def test_a_module_that_ends_the_process(
    tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch, module: str, message: str
) -> None:
    (tmp_path / "script_of_mine.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TaskError, match=message):
        trials.try_task(Task(id="script_of_mine:Own-v0"))


def test_the_page_of_a_task(tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    own_task(tmp_path, monkeypatch, "NoticesSuccess", "noticing")
    page, problems = check_task("noticing:Own-v0")
    assert problems == []
    text = shown(page)
    assert "2 numbers" in text and "1 number " in text and "info['is_success']" in text and "12 steps" in text
    own_task(tmp_path, monkeypatch, "CountsEpisodes", "counting")
    _, problems = check_task("counting:Own-v0")
    assert len(problems) == 1 and "allow: [carryover]" in problems[0]
    _, problems = check_task(
        "counting:Own-v0", tiny_config(tmp_path, "tasks=[{id: 'counting:Own-v0', allow: [carryover]}]")
    )
    assert problems == []
    own_task(tmp_path, monkeypatch, "Chooses", "choosing")
    page, problems = check_task("choosing:Own-v0")
    assert problems == [] and "one of 3" in shown(page)
    study = tiny_config(tmp_path, "tasks=['choosing:Own-v0']")
    _, problems = check_task("choosing:Own-v0", study)
    assert "choosing:Own-v0 has discrete actions (one of 3), and SAC learns continuous ones" in problems[0]
    with pytest.raises(TaskError, match="discrete actions"):
        trials.try_tasks(study)
    assert check_task("not a task").problems[0].startswith("must be an id")


def test_runs_of_several_versions_of_the_code_are_told_apart(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "seeds=[0, 1]")
    for seed, code in ((0, "0123456789ab"), (1, "ba9876543210")):
        dense = write_dense(config, seed=seed)
        change_manifest(dense.files, versions={code_name("Pendulum-v1"): code})
    (line,) = collect(Store(config.data), config).verdicts.deviations
    assert line.startswith("Runs of Pendulum-v1 were made with 2 versions of its code")


def test_success_in_reports_says_where_it_is_read(
    tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own_task(tmp_path, monkeypatch, "NoticesSuccess", "noticing")
    config = tiny_config(tmp_path, "tasks=['noticing:Own-v0']")
    planned(config, monkeypatch)
    assert collect(Store(config.data), config).success_keys == {"noticing:Own-v0": "is_success"}
    assert json.loads(Store(config.data).trial("noticing_Own-v0").read_text())["trial"]["success_key"] == "is_success"
