"""Scores of studies in files: hand-computed, and of what is missing or damaged."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rlottery.analysis.runs import Run, read_runs
from rlottery.analysis.scores import ArmScores, TaskScores, score_tasks
from rlottery.config import Config
from rlottery.storage.paths import Store
from tests.analysis.stores import config, returns, success, write_run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data")


def scored(store: Store, of: Config) -> tuple[TaskScores, ...]:
    return score_tasks(of, {task.id: read_runs(store, task.name, of.seeds) for task in of.tasks})


def only_task(store: Store, **settings: object) -> TaskScores:
    (task,) = scored(store, config(**settings))  # type: ignore[arg-type]
    return task


def arm(task: TaskScores, name: str) -> ArmScores:
    found = task.arm(name)
    assert found is not None
    return found


def failures(task: TaskScores) -> list[Run]:
    return [run for run in task.every_run if run.error is not None]


class TestScores:
    def test_hand_computed(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 0.5, 0.9, 1.0))
        write_run(store, "dense", 1, success(0.2, 0.1, 0.7, 0.8))
        write_run(store, "magnitude-80", 0, success(0.0, 1.0, 0.4, 0.6))
        write_run(store, "magnitude-80", 1, success(0.0, 0.0, 0.8, 1.0))
        task = only_task(store)
        assert task.metric == "success"
        assert task.untrained == pytest.approx(0.1)
        dense, ticket = task.arms
        assert dense.scores == pytest.approx({0: 0.95, 1: 0.75})
        assert dense.mean.value == pytest.approx(0.85)
        assert ticket.scores == pytest.approx({0: 0.5, 1: 0.9})
        # (0.70 - 0.1) / (0.85 - 0.1)
        assert ticket.normalised_score == pytest.approx(0.8)
        assert tuple(ticket.normalised) == (0, 1)
        assert dense.normalised_score == pytest.approx(1.0)
        run = task.representative("magnitude-80")
        assert (run.method, run.criterion) == ("magnitude", "magnitude")
        assert run.sparsity == {"actor": 0.8, "critic": 0.8}

    def test_return_where_success_is_unknown(self, store: Store) -> None:
        write_run(store, "dense", 0, returns(-1000, -500, -200, -100))
        write_run(store, "taylor-90", 0, returns(-1000, -500, -400, -300))
        task = only_task(store, seeds=(0,))
        assert task.metric == "return"
        # (-350 + 1000) / (-150 + 1000)
        assert arm(task, "taylor-90").normalised_score == pytest.approx(650 / 850)

    def test_the_normalised_score_is_on_the_scale_of_all_dense_agents(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0))
        write_run(store, "dense", 1, success(0.0, 0.5, 0.5, 0.5))
        write_run(store, "magnitude-80", 1, success(0.0, 0.6, 0.6, 0.6))
        task = only_task(store)
        # Runs of different arms are independent samples, whatever their seeds: 0.6 of (1.0 + 0.5) / 2.
        assert arm(task, "magnitude-80").normalised == {1: pytest.approx(0.8)}
        assert [run.seed for run in task.runs["magnitude-80"]] == [1]

    def test_arms_are_ordered_dense_then_sparsity_then_name(self, store: Store) -> None:
        for name in ("taylor-80", "magnitude-95", "dense", "magnitude-80", "gradient-9"):
            write_run(store, name, 0, success(0.0, 1.0))
        names = list(only_task(store, seeds=(0,)).runs)
        assert names == ["dense", "gradient-9", "magnitude-80", "taylor-80", "magnitude-95"]

    def test_only_the_tasks_and_seeds_of_the_config(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 1.0))
        write_run(store, "dense", 7, success(0.0, 0.0))
        write_run(store, "dense", 0, success(0.0, 0.0), task="push-v3")
        assert only_task(store, seeds=(0,)).arms[0].scores == {0: 1.0}


class TestDenseDidNotLearn:
    def test_success(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 0.0, 0.04, 0.05))
        write_run(store, "magnitude-80", 0, success(0.0, 1.0, 1.0, 1.0))
        task = only_task(store, seeds=(0,))
        assert task.dense_not_learned == (0,)
        assert arm(task, "magnitude-80").normalised_score is None and task.gain is None

    @pytest.mark.parametrize(("last", "learned"), [(-870, False), (-840, True)])
    def test_a_return_must_gain_what_untrained_episodes_scatter_by(
        self, store: Store, last: float, learned: bool
    ) -> None:
        # Episodes at 1000 +- 150: their standard deviation is 150.
        write_run(store, "dense", 0, returns(-1000, last, last, last, scatter=150))
        task = only_task(store, seeds=(0,))
        assert task.least_gain == pytest.approx(150)
        assert (task.dense_not_learned == ()) is learned

    def test_where_the_zero_of_the_returns_is_decides_nothing(self, store: Store) -> None:
        """Untrained agents of 200 that gain 0.3, and don't scatter, learned as much as those of 0 that do."""
        write_run(store, "dense", 0, returns(200.0, 200.3, 200.3, 200.3))
        write_run(store, "magnitude-80", 0, returns(200.0, 200.15, 200.15, 200.15))
        task = only_task(store, seeds=(0,))
        assert task.gain == pytest.approx(0.3) and 0 < task.least_gain < 1e-12
        assert arm(task, "magnitude-80").normalised_score == pytest.approx(0.5)

    def test_one_seed_of_two(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0))
        write_run(store, "dense", 1, success(0.0, 0.0, 0.0, 0.0))
        write_run(store, "magnitude-80", 0, success(0.0, 0.4, 0.4, 0.4))
        write_run(store, "magnitude-80", 1, success(0.0, 0.0, 0.0, 0.0))
        task = only_task(store)
        assert task.dense_not_learned == (1,)
        assert arm(task, "magnitude-80").normalised_score == pytest.approx(0.4)


class TestWhatIsMissingOrDamaged:
    def test_no_runs(self, store: Store) -> None:
        task = only_task(store)
        assert (task.arms, task.runs, task.untrained) == ((), {}, None)

    def test_a_failed_run_is_marked_and_scores_nothing(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0))
        write_run(store, "dense", 1, success(0.0, 1.0), error="critic_loss became NaN")
        task = only_task(store)
        assert arm(task, "dense").scores == {0: 1.0}
        (failure,) = failures(task)
        assert (failure.seed, failure.status, failure.error) == (1, "failed", "critic_loss became NaN")

    def test_a_failed_run_without_metrics(self, store: Store) -> None:
        write_run(store, "dense", 0, [], error="no memory")
        store.run("reach-v3", 0, "dense").metrics.unlink()
        assert failures(only_task(store))[0].error == "no memory"

    def test_a_truncated_last_line_is_skipped_and_noted(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 0.2, 0.4, 1.0))
        metrics = store.run("reach-v3", 0, "dense").metrics
        metrics.write_bytes(metrics.read_bytes()[:-9])
        task = only_task(store, seeds=(0,))
        assert task.arms[0].scores == pytest.approx({0: 0.3})
        assert task.notes == ("dense, seed 0: the last evaluation is at step 200; the config asks for 300.",)

    def test_fewer_evaluations_than_make_a_score(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 0.8))
        task = only_task(store, seeds=(0,))
        assert task.arms[0].scores == {0: 0.8}
        assert len(task.notes) == 2

    @pytest.mark.parametrize(
        ("rows", "said"),
        [
            (success(0.5), "no evaluation of the trained agent"),
            ([{"kind": "evaluation", "env_steps": 100}], "its return is not a finite number"),
            ([{"kind": "evaluation", "env_steps": 100, "return": float("nan")}], "its return is not a finite number"),
            ([{"env_steps": 100}], "not a row of rlottery's metrics"),
        ],
    )
    def test_a_run_without_a_score_is_unreadable(self, store: Store, rows: list[dict[str, Any]], said: str) -> None:
        write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0))
        write_run(store, "dense", 1, rows)
        task = only_task(store)
        assert arm(task, "dense").scores == {0: 1.0}
        (failure,) = failures(task)
        assert failure.status == "unreadable" and said in str(failure.error)

    @pytest.mark.parametrize(
        ("ticket", "said"),
        [
            ({"sac": {"discount": 0.9}, "inputs": {"initial": "weights"}}, "sac.discount"),
            ({"sac": {"discount": 0.99}, "inputs": {"initial": "others"}}, "other initial weights"),
        ],
    )
    def test_a_ticket_of_other_settings_is_not_compared(self, store: Store, ticket: dict[str, Any], said: str) -> None:
        write_run(store, "dense", 0, success(0, 1, 1, 1), fingerprint={"version": 1, "sac": {"discount": 0.99}})
        write_run(store, "magnitude-80", 0, success(0, 1, 1, 1), fingerprint={"version": 2, **ticket})
        task = only_task(store, seeds=[0])
        assert task.arm("magnitude-80") is None and list(task.runs) == ["dense", "magnitude-80"]
        assert said in str(failures(task)[0].error)

    def test_a_damaged_manifest_stops_no_other_run(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0))
        write_run(store, "dense", 1, success(0.0, 1.0, 1.0, 1.0))
        store.run("reach-v3", 1, "dense").manifest.write_text("{")
        task = only_task(store)
        assert (len(arm(task, "dense").scores), failures(task)[0].status) == (1, "unreadable")

    def test_a_run_that_still_trains_has_no_manifest(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 1.0))
        store.run("reach-v3", 0, "dense").manifest.unlink()
        assert only_task(store).arms == ()


def test_neither_analysis_nor_report_imports_jax() -> None:
    code = "import sys, rlottery.report.files; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_rounds_on_the_way_to_an_arm_are_skipped(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0))
    write_run(store, "imp-80", 0, success(0.0, 1.0, 1.0, 1.0))
    write_run(store, "imp-50", 0, success(0.0, 1.0, 1.0, 1.0), round_of="imp-80")
    assert list(only_task(store, seeds=(0,)).runs) == ["dense", "imp-80"]


def test_an_arm_with_fewer_steps_is_complete_where_it_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0))
    write_run(store, "late-80", 0, success(0.0, 1.0, 1.0), env_steps=200)
    assert only_task(store, seeds=(0,)).notes == ()
    write_run(store, "late-80", 0, success(0.0, 1.0, 1.0))
    (note,) = only_task(store, seeds=(0,)).notes
    assert note == "late-80, seed 0: the last evaluation is at step 200; the config asks for 300."


def test_scores_of_untrained_agents_are_noted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0))

    def notes(warmup_steps: int, last: int = 2) -> tuple[str, ...]:
        asked = config(seeds=(0,))
        asked = asked.model_copy(update={"evaluation": asked.evaluation.model_copy(update={"score_evaluations": last})})
        training = asked.training.model_copy(update={"warmup_steps": warmup_steps})
        return scored(store, asked.model_copy(update={"training": training}))[0].notes

    (note,) = notes(200)
    assert note.startswith(
        "A score is the mean of the last 2 evaluations, and some of these were made before the first update"
    )
    assert notes(199) == ()
    (note,) = notes(300, last=1)
    assert note.startswith("A score is the last evaluation, and some runs made it before the first update")


def test_what_an_arm_is_about_is_no_difference_from_the_dense_agent(tmp_path: Path) -> None:
    store = Store(tmp_path)
    settings = {"seed": 0, "training": {"env_steps": 300}}
    write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0), fingerprint={"version": 1, **settings})
    own = {"arm": {"rewind": {"step": 100}}, "inputs": {}}
    write_run(store, "late-80", 0, success(0.0, 1.0, 1.0, 1.0), fingerprint={"version": 1, **settings, **own})
    assert not failures(only_task(store, seeds=(0,)))


def test_an_arm_that_goes_back_to_a_step_starts_there(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write_run(store, "late-80", 0, success(0.0, 1.0), fingerprint={"arm": {"rewind": {"step": 100}}})
    write_run(store, "tuned-80", 0, success(0.0, 1.0), fingerprint={"arm": {"rewind": "none"}})
    assert {run.arm: run.began_at for run in read_runs(store, "reach-v3", [0])} == {"late-80": 100, "tuned-80": 0}
