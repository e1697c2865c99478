"""Runs that were trained with other settings than the config's are reported, with how to fix it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlottery.config import Config
from rlottery.storage.study_record import note_command
from rlottery.storage.trained_with import differing_settings, other_settings_message, trained_with
from rlottery.study.planning.fingerprints import dense_fingerprint


def config(data: Path, **settings: object) -> Config:
    return Config.model_validate({"data": str(data), "tasks": ["Pendulum-v1"], "seeds": [0, 1], **settings})


def differences(asked: Config, fingerprint: Mapping[str, Any]) -> list[str]:
    return differing_settings(trained_with(asked, asked.tasks[0]), fingerprint)


def test_what_a_run_is_trained_with_is_compared_key_by_key(tmp_path: Path) -> None:
    asked = config(tmp_path)
    trained = config(
        tmp_path,
        sac={"batch_size": 64},
        network={"actor": [32, 32]},
        training={"env_steps": 1500},
        evaluation={"interval": 500, "episodes": 3},
        tasks=[{"id": "Pendulum-v1", "kwargs": {"g": 5.0}}],
    )
    assert differences(asked, dense_fingerprint(trained, trained.tasks[0], 0)) == [
        "evaluation.episodes: the files have 3, this config asks for 10",
        "evaluation.interval: the files have 500, this config asks for 2500",
        "network.actor: the files have [32, 32], this config asks for [256, 256]",
        "sac.batch_size: the files have 64, this config asks for 256",
        "task.kwargs.g: the files have 5.0, this config asks for nothing",
        "training.env_steps: the files have 1500, this config asks for 25000",
    ]


def test_a_tasks_own_settings_are_compared_not_the_studys(tmp_path: Path) -> None:
    trained = config(tmp_path, training={"env_steps": 1500, "warmup_steps": 100}, evaluation={"interval": 500})
    fingerprint = dense_fingerprint(trained, trained.tasks[0], 0)
    own = {"id": "Pendulum-v1", "training": {"env_steps": 1500, "warmup_steps": 100}}
    asked = config(tmp_path, tasks=[own], evaluation={"interval": 500})
    assert differences(asked, fingerprint) == []


def test_what_makes_no_run_is_not_compared(tmp_path: Path) -> None:
    trained = config(tmp_path)
    asked = config(
        tmp_path / "elsewhere",
        name="other",
        seeds=[7],
        arms=[{"criterion": "magnitude", "sparsity": 0.5}],
        evaluation={"score_evaluations": 1},
        verdict={"margin": 0.05},
        keep_replay=False,
    )
    assert differences(asked, dense_fingerprint(trained, trained.tasks[0], 0)) == []


def test_what_a_fingerprint_does_not_tell_is_not_compared(tmp_path: Path) -> None:
    asked = config(tmp_path)
    assert differences(asked, {}) == []
    assert differences(asked, {"evaluation": {"interval": 2500, "episodes": 10}}) == []


def test_the_words_count_the_runs_and_name_the_first_keys(tmp_path: Path) -> None:
    asked = config(tmp_path)
    trained = config(tmp_path, sac={"batch_size": 64, "discount": 0.5, "reward_scale": 2.0, "polyak": 0.1})
    fingerprints = [dense_fingerprint(of, of.tasks[0], 0) for of in (trained, trained, asked)]
    said = other_settings_message(asked, asked.tasks[0], fingerprints)
    assert said is not None
    assert said.startswith("Pendulum-v1: 2 runs were trained with other settings than these (")
    assert "sac.batch_size: the files have 64, this config asks for 256; " in said and "; and 1 more)." in said
    assert said.endswith("Set the values that they were trained with")
    assert other_settings_message(asked, asked.tasks[0], fingerprints[2:]) is None


def test_the_data_folder_is_named_where_its_record_agrees_with_the_runs(tmp_path: Path) -> None:
    asked, trained = config(tmp_path), config(tmp_path, sac={"batch_size": 64})
    fingerprint = dense_fingerprint(trained, trained.tasks[0], 0)
    note_command(trained, has_work=True)
    said = other_settings_message(asked, asked.tasks[0], [fingerprint])
    assert said is not None and said.endswith(f"or give the data folder instead of the config file: {tmp_path}")
    note_command(asked, has_work=True)  # of another command, that set other keys
    said = other_settings_message(asked, asked.tasks[0], [fingerprint])
    assert said is not None and str(tmp_path) not in said
