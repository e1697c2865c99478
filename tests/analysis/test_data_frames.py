"""Studies written by hand as frames: every value against what was written, and clear words where there is none."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import rlottery
from rlottery.config import Config
from rlottery.errors import ConfigError, StudyError
from rlottery.pruning.mask_file import mask_to_bytes, read_mask
from rlottery.pruning.masks import make_mask
from rlottery.report.notebook import Study, load_study
from rlottery.storage.disk import write_bytes
from rlottery.storage.paths import Store
from rlottery.storage.study_record import note_command
from tests.analysis.stores import config, returns, success, write_mask, write_run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data")


def loaded(store: Store, of: Config) -> Study:
    """The study, by its data folder and the record there."""
    note_command(of.model_copy(update={"data": store.root}), has_work=True)
    return load_study(store.root)


def row(frame: pd.DataFrame, **keys: Any) -> dict[str, Any]:
    """The one row with these values; NA is None."""
    for name, value in keys.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return {name: None if pd.isna(value) else value for name, value in frame.iloc[0].items()}


def test_a_run(store: Store) -> None:
    write_run(store, "dense", 0, success(0.0, 0.4, 0.8, 0.9), env_steps=300, seconds=12.5)
    write_run(store, "taylor-90", 0, success(0.0, 0.2, 0.4, 0.6), env_steps=300, recipe={"control": "random"})
    runs = loaded(store, config(seeds=(0,))).runs
    dense, ticket = row(runs, arm="dense"), row(runs, arm="taylor-90")
    assert dense == {
        "task": "reach-v3",
        "arm": "dense",
        "seed": 0,
        "status": "done",
        "error": None,
        "criterion": None,
        "control": None,
        "sparsity_actor": None,
        "sparsity_critic": None,
        "metric": "success",
        "score": pytest.approx(0.85),  # of the last two evaluations
        "area": pytest.approx((0.2 + 0.6 + 0.85) / 3),
        "untrained": 0.0,
        "task_untrained": 0.0,
        "normalised_score": pytest.approx(1.0),
        "from_start": pytest.approx(1.0),
        "env_steps": 300,
        "seconds": 12.5,
        "folder": str(store.run("reach-v3", 0, "dense").folder),
    }
    assert (ticket["score"], ticket["normalised_score"]) == (pytest.approx(0.5), pytest.approx(0.5 / 0.85))
    assert (ticket["criterion"], ticket["control"]) == ("taylor", "random")
    assert (ticket["sparsity_actor"], ticket["sparsity_critic"], ticket["seconds"]) == (0.9, 0.9, None)


def test_normalised_scores_are_relative_to_the_dense_agents_gain(store: Store) -> None:
    for seed, (start, end) in enumerate([(-1000.0, -100.0), (-800.0, -300.0)]):
        write_run(store, "dense", seed, returns(start, end, end, end), task="Pendulum-v1")
        write_run(store, "magnitude-80", seed, returns(start, start, -550.0, -550.0), task="Pendulum-v1")
    runs = loaded(store, config(("Pendulum-v1",))).runs
    assert set(runs["metric"]) == {"return"} and set(runs["task_untrained"]) == {-900.0}
    assert runs[runs["arm"] == "dense"]["untrained"].tolist() == [-1000.0, -800.0]
    shares = runs.pivot(index="seed", columns="arm", values="normalised_score")
    assert shares["dense"].tolist() == pytest.approx([800 / 700, 600 / 700])
    assert shares["magnitude-80"].tolist() == pytest.approx([350 / 700] * 2)


def test_dense_agents_that_did_not_learn_give_no_normalised_scores(store: Store) -> None:
    write_run(store, "dense", 0, success(0.0, 0.0, 0.0, 0.0))
    assert row(loaded(store, config(seeds=(0,))).runs)["normalised_score"] is None


def test_runs_that_ended_badly(store: Store) -> None:
    write_run(store, "dense", 0, success(0.1, 0.4, 0.9, 0.9))
    write_run(store, "magnitude-80", 0, success(0.0), error="no memory")
    write_run(store, "magnitude-90", 0, success(0.0, 0.3), error="loss is nan", status="diverged", env_steps=300)
    runs = loaded(store, config(seeds=(0,))).runs
    failed, diverged = row(runs, arm="magnitude-80"), row(runs, arm="magnitude-90")
    assert (failed["status"], failed["error"], failed["score"], failed["normalised_score"]) == (
        "failed",
        "no memory",
        None,
        None,
    )
    assert (diverged["status"], diverged["score"], diverged["normalised_score"]) == ("diverged", 0.1, 0.0)


def test_evaluations(store: Store) -> None:
    write_run(store, "dense", 0, success(0.0, 0.5, 1.0))
    write_run(store, "dense", 1, returns(-5.0, -3.0, scatter=1.0), task="Pendulum-v1")
    study = loaded(store, config(("reach-v3", "Pendulum-v1")))
    assert len(study.evaluations) == 5
    assert row(study.evaluations, task="reach-v3", env_steps=100) == {
        "task": "reach-v3",
        "arm": "dense",
        "seed": 0,
        "env_steps": 100,
        "return": 250.0,
        "success": 0.5,
        "episodes": 1,
    }
    pendulum = row(study.evaluations, task="Pendulum-v1", env_steps=100)
    assert (pendulum["seed"], pendulum["return"], pendulum["success"], pendulum["episodes"]) == (1, -3.0, None, 2)


def test_masks(store: Store) -> None:
    write_run(store, "dense", 0, success(0.0, 1.0, 1.0))
    for arm, kept in (("magnitude-80", (1, 2)), ("taylor-80", (3, 4, 5))):
        write_run(store, arm, 0, success(0.0, 1.0, 1.0))
        write_mask(store.run("reach-v3", 0, arm).mask, kept)
    study = loaded(store, config(seeds=(0,)))
    assert study.masks[["arm", "group", "layer", "kept", "total"]].values.tolist() == [
        ["magnitude-80", "actor", "layer_0", 2, 10],
        ["magnitude-80", "critic", "q1.layer_0", 2, 10],
        ["taylor-80", "actor", "layer_0", 3, 10],
        ["taylor-80", "critic", "q1.layer_0", 3, 10],
    ]
    digest = read_mask(store.run("reach-v3", 0, "taylor-80").mask).metadata["digest"]
    assert set(study.masks["digest"][2:]) == {digest} != set(study.masks["digest"][:2])
    assert study.problems == ()


def test_useful_survivors_are_on_a_path_through_all_layers_of_their_network(store: Store) -> None:
    write_run(store, "dense", 0, success(0.0, 1.0, 1.0))
    write_run(store, "magnitude-80", 0, success(0.0, 1.0, 1.0))
    network = {
        "layer_0": np.array([[True, True, False], [False, True, False]]),  # unit 1 leads nowhere, unit 2 reads nothing
        "layer_1": np.array([[True], [False], [True]]),
    }
    critic = {f"{twin}.{path}": layer.copy() for twin in ("q1", "q2") for path, layer in network.items()}
    critic["q2.layer_1"][1] = True
    mask = make_mask({"actor": network, "critic": critic}, task="reach-v3", seed=0)
    write_bytes(store.run("reach-v3", 0, "magnitude-80").mask, mask_to_bytes(mask))
    masks = loaded(store, config(seeds=(0,))).masks
    assert masks[["layer", "kept", "useful", "total"]].values.tolist() == [
        ["layer_0", 3, 1, 6],
        ["layer_1", 2, 1, 3],
        ["q1.layer_0", 3, 1, 6],
        ["q1.layer_1", 2, 1, 3],
        ["q2.layer_0", 3, 3, 6],
        ["q2.layer_1", 3, 2, 3],
    ]


def test_a_damaged_mask_is_reported_and_stops_nothing(store: Store) -> None:
    write_run(store, "dense", 0, success(0.0, 1.0, 1.0))
    write_run(store, "magnitude-80", 0, success(0.0, 1.0, 1.0))
    mask = store.run("reach-v3", 0, "magnitude-80").mask
    mask.write_bytes(b"damaged")
    study = loaded(store, config(seeds=(0,)))
    assert len(study.masks) == 0 and len(study.runs) == 2
    assert len(study.problems) == 1 and str(mask) in study.problems[0]


def test_the_mask_of_a_run_that_can_not_be_read_is_none_of_the_studys(store: Store) -> None:
    write_run(store, "dense", 0, success(0.0, 1.0, 1.0))
    for arm in ("magnitude-80", "taylor-80"):
        write_run(store, arm, 0, success(0.0, 1.0, 1.0))
        write_mask(store.run("reach-v3", 0, arm).mask, (1, 2))
    store.run("reach-v3", 0, "taylor-80").metrics.write_text("damaged")
    study = loaded(store, config(seeds=(0,)))
    assert row(study.runs, arm="taylor-80")["status"] == "unreadable"
    (problem,) = study.problems
    assert problem.startswith("reach-v3: taylor-80, seed 0: ") and "metrics.jsonl" in problem
    assert set(study.masks["arm"]) == {"magnitude-80"}


def test_columns_and_their_types_are_the_same_where_nothing_is_known(store: Store) -> None:
    write_run(store, "dense", 0, [], error="no memory")
    few = loaded(store, config(seeds=(0,)))
    write_run(store, "dense", 1, success(0.0, 1.0, 1.0), seconds=3.0, env_steps=300)
    write_run(store, "magnitude-80", 1, success(0.0, 1.0, 1.0))
    write_mask(store.run("reach-v3", 1, "magnitude-80").mask, (1, 2))
    many = loaded(store, config())
    for name in ("runs", "evaluations", "masks"):
        assert getattr(few, name).dtypes.to_dict() == getattr(many, name).dtypes.to_dict()
    assert (len(few.evaluations), len(few.masks), len(many.masks)) == (0, 0, 2)


def test_by_its_config_file(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(store, "dense", 0, success(0.0, 0.4, 0.8))
    (tmp_path / "config.yaml").write_text("tasks: [reach-v3]\nseeds: [0]\nevaluation: {score_evaluations: 1}\n")
    monkeypatch.chdir(tmp_path)
    study = load_study("config.yaml")
    assert study.data == Path("data")
    assert row(study.runs)["score"] == 0.8


class TestNothingToLoad:
    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(StudyError, match="There is no study at .*nosuch"):
            load_study(tmp_path / "nosuch")

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(StudyError, match="is empty"):
            load_study(tmp_path)

    def test_another_folder(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("text")
        with pytest.raises(StudyError, match="holds no study"):
            load_study(tmp_path)

    def test_runs_without_a_record(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 1.0))
        with pytest.raises(StudyError, match="has runs, but no study.json .* rlottery report CONFIG data="):
            load_study(store.root)

    def test_nothing_done_yet(self, store: Store) -> None:
        with pytest.raises(StudyError, match="has no finished run"):
            loaded(store, config())

    def test_a_config_with_a_fault(self, tmp_path: Path) -> None:
        (tmp_path / "config.yaml").write_text("tasks: [reach-v3]\nseeds: [zero]\n")
        with pytest.raises(ConfigError, match="config.yaml:2"):
            load_study(tmp_path / "config.yaml")


def test_the_packages_name_brings_pandas_only_when_asked_for() -> None:
    code = "import sys, rlottery; before = 'pandas' in sys.modules; rlottery.load_study; "
    code += "print(before, 'pandas' in sys.modules, 'jax' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert said == "False True False\n"
    assert rlottery.load_study is load_study
