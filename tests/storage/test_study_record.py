"""The record of a study: its settings and commands."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rlottery.config import Config
from rlottery.errors import StudyError
from rlottery.storage.paths import Store
from rlottery.storage.study_record import config_from_record, note_command, read_study_record
from rlottery.study.verify import examine


def config(data: Path, seeds: list[int], tasks: list[str] | None = None) -> Config:
    return Config.model_validate({"data": str(data), "tasks": tasks or ["Pendulum-v1"], "seeds": seeds})


def test_settings_come_back(tmp_path: Path) -> None:
    asked = config(tmp_path, [0, 1])
    note_command(asked, has_work=True)
    record = read_study_record(tmp_path)
    assert config_from_record(record, tmp_path) == asked
    assert len(record["commands"]) == 1 and record["commands"][0]["seeds"] == [0, 1]
    assert record["seeds_added"] == 0


def test_a_moved_study_has_the_folder_where_it_lies(tmp_path: Path) -> None:
    note_command(config(tmp_path / "a", [0]), has_work=True)
    (tmp_path / "a").rename(tmp_path / "b")
    assert config_from_record(read_study_record(tmp_path / "b"), tmp_path / "b").data == tmp_path / "b"


def test_a_study_of_before_there_were_controls_has_none(tmp_path: Path) -> None:
    """Its readers would look for runs that nobody planned."""
    note_command(config(tmp_path, [0]), has_work=True)
    record = read_study_record(tmp_path)
    assert config_from_record(record, tmp_path).pruning.controls == ("random",)
    del record["config"]["pruning"]["controls"]
    assert config_from_record(record, tmp_path).pruning.controls == ()


def test_seeds_and_tasks_of_all_commands_are_joined_and_added_seeds_counted(tmp_path: Path) -> None:
    note_command(config(tmp_path, [0, 1]), has_work=True)
    finish_a_run(tmp_path)
    note_command(config(tmp_path, [2], ["Reacher-v5"]), has_work=True)
    note_command(config(tmp_path, [1]), has_work=True)
    note_command(config(tmp_path, [0, 1, 2, 3]), has_work=True)
    record = read_study_record(tmp_path)
    joined = config_from_record(record, tmp_path)
    assert joined.seeds == (0, 1, 2, 3)
    assert [task.id for task in joined.tasks] == ["Pendulum-v1", "Reacher-v5"]
    assert record["seeds_added"] == 2
    assert [command["seeds"] for command in record["commands"]] == [[0, 1], [2], [1], [0, 1, 2, 3]]


def finish_a_run(data: Path) -> None:
    manifest = Store(data).run("Pendulum-v1", 0, "dense").manifest
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")


def test_seeds_are_added_only_to_results(tmp_path: Path) -> None:
    """Jobs of an array, a seed each, that start together add nothing to what anyone has seen."""
    for seed in range(3):
        note_command(config(tmp_path, [seed]), has_work=True)
    assert read_study_record(tmp_path)["seeds_added"] == 0
    finish_a_run(tmp_path)
    note_command(config(tmp_path, [3]), has_work=True)
    assert read_study_record(tmp_path)["seeds_added"] == 1


def test_commands_at_once_lose_none(tmp_path: Path) -> None:
    code = (
        "import sys; from rlottery.config import Config; from rlottery.storage.study_record import note_command; "
        "note_command(Config.model_validate({'data': sys.argv[1], 'tasks': ['a'], 'seeds': [int(sys.argv[2])]}), "
        "has_work=True)"
    )
    commands = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(seed)]) for seed in range(6)]
    assert [command.wait(600) for command in commands] == [0] * 6
    record = read_study_record(tmp_path)
    assert sorted(record["config"]["seeds"]) == list(range(6)) and len(record["commands"]) == 6


def test_a_command_that_has_nothing_to_do_is_not_noted(tmp_path: Path) -> None:
    asked = config(tmp_path, [0])
    note_command(asked, has_work=True)
    note_command(asked, has_work=False)
    assert len(read_study_record(tmp_path)["commands"]) == 1


def test_one_whose_settings_differ_is_noted_without_work(tmp_path: Path) -> None:
    note_command(config(tmp_path, [0]), has_work=True)
    other = Config.model_validate({**config(tmp_path, [0]).model_dump(mode="json"), "verdict": {"margin": 0.2}})
    note_command(other, has_work=False)
    assert config_from_record(read_study_record(tmp_path), tmp_path).verdict.margin == 0.2


def test_a_damaged_record_is_made_anew_by_a_run_and_named_by_a_reader(tmp_path: Path) -> None:
    asked = config(tmp_path, [0])
    note_command(asked, has_work=True)
    file = Store(tmp_path).record
    content = json.loads(file.read_text())
    content["seeds_added"] = 7
    file.write_text(json.dumps(content))
    with pytest.raises(StudyError, match=r"study\.json is damaged: its content differs from its checksum"):
        read_study_record(tmp_path)
    note_command(asked, has_work=False)
    assert read_study_record(tmp_path)["seeds_added"] == 0


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda folder: None, "There is no study at"),
        (lambda folder: folder.mkdir(), "is empty"),
        (lambda folder: (folder / "photos").mkdir(parents=True), "holds no study"),
        (
            lambda folder: (folder / "runs").mkdir(parents=True),
            r"has runs, but no study\.json.*rlottery report CONFIG data=",
        ),
    ],
)
def test_no_record(tmp_path: Path, make, said: str) -> None:
    folder = tmp_path / "folder"
    make(folder)
    with pytest.raises(StudyError, match=said):
        read_study_record(folder)


def test_settings_of_a_later_version_are_named(tmp_path: Path) -> None:
    note_command(config(tmp_path, [0]), has_work=True)
    record = read_study_record(tmp_path)
    record["config"]["telepathy"] = True
    with pytest.raises(StudyError, match=r"can't be read by rlottery .* \(telepathy: .*Give the study's config file"):
        config_from_record(record, tmp_path)


def test_verify_finds_a_damaged_record(tmp_path: Path) -> None:
    asked = config(tmp_path, [0])
    note_command(asked, has_work=True)
    assert examine(asked).problems == () and examine(asked).files == 1
    Store(tmp_path).record.write_text('{"format_version": 2}')
    (problem,) = examine(asked).problems
    assert problem.file == Store(tmp_path).record and "The next run restarts it" in problem.fix


def test_a_claim_is_recorded_with_the_runs_that_had_ended_before_it(tmp_path: Path) -> None:
    def registering(*claims: str) -> Config:
        arms = [{"criterion": "magnitude", "sparsity": 0.9}, {"criterion": "taylor", "sparsity": 0.9}]
        return Config.model_validate(
            {"data": str(tmp_path), "tasks": ["Pendulum-v1"], "seeds": [0], "arms": arms, "contrasts": claims}
        )

    note_command(registering("taylor-90 > magnitude-90"), has_work=True)
    finish_a_run(tmp_path)
    note_command(registering("dense vs magnitude-90 ", "taylor-90 > magnitude-90"), has_work=False)
    note_command(registering(), has_work=True)
    claims = read_study_record(tmp_path)["claims"]
    assert [(claim["claim"], claim["measure"], claim["ended"]) for claim in claims] == [
        ("taylor-90 > magnitude-90", "score", 0),
        ("dense vs magnitude-90", "score", 1),
    ]
    assert claims[0]["when"] <= claims[1]["when"]
