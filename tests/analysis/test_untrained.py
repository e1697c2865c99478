"""The zero of normalised scores: fresh untrained policies where a study has them, else its dense agents."""

import statistics
from pathlib import Path

import pytest

from rlottery.analysis.learning import least_gain_of
from rlottery.analysis.runs import read_runs
from rlottery.analysis.scores import TaskScores, score_tasks
from rlottery.analysis.untrained import read_samples
from rlottery.config import Config
from rlottery.storage.paths import Store
from rlottery.storage.untrained_record import UntrainedScores, write_untrained
from tests.analysis.stores import config, returns, success, write_run

FRESH = [-30.0, -10.0, -50.0, -22.0]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Dense agents that start at -20 and -40 and reach -10 and 10, and tickets that start at -60 and -80."""
    store = Store(tmp_path)
    for seed, (dense, ticket) in enumerate((((-20.0, -10.0), (-60.0, 5.0)), ((-40.0, 10.0), (-80.0, -15.0)))):
        write_run(store, "dense", seed, returns(dense[0], *[dense[1]] * 3, scatter=1.0))
        write_run(store, "magnitude-80", seed, returns(ticket[0], *[ticket[1]] * 3, scatter=1.0))
    return store


def write(store: Store, values: list[float], policies: int | None = None, **fingerprint: object) -> None:
    sample = UntrainedScores(fingerprint, policies or len(values), values, [None] * len(values), {})
    write_untrained(store.untrained("reach-v3"), "reach-v3", sample)


def settings(policies: int = 4) -> Config:
    given = config().model_dump()
    return Config.model_validate(given | {"evaluation": given["evaluation"] | {"untrained_policies": policies}})


def scored(store: Store, of: Config) -> tuple[TaskScores, tuple[str, ...]]:
    runs = {task.id: read_runs(store, task.name, of.seeds) for task in of.tasks}
    samples, problems = read_samples(store, of, runs)
    (task,) = score_tasks(of, runs, samples)
    return task, problems


def test_fresh_policies_are_the_zero(store: Store) -> None:
    write(store, FRESH)
    task, problems = scored(store, settings())
    assert (task.fresh, task.untrained_sample, problems) == (tuple(FRESH), tuple(FRESH), ())
    assert (task.untrained, task.dense, task.gain) == (-28.0, 0.0, 28.0)
    ticket = task.arm("magnitude-80")
    assert ticket is not None
    assert dict(ticket.normalised) == pytest.approx({0: 33 / 28, 1: 13 / 28})
    assert dict(ticket.before) == {0: -60.0, 1: -80.0}
    # The second zero is where the pruned agents start, at -70.
    assert task.start == -70.0
    assert dict(ticket.from_start) == pytest.approx({0: 75 / 70, 1: 55 / 70})


def test_without_them_the_dense_agents_are(store: Store) -> None:
    task, _ = scored(store, settings())
    assert (task.fresh, sorted(task.untrained_sample), task.untrained) == ((), [-40.0, -20.0], -30.0)


def test_a_part_of_what_is_asked_for_is_no_sample_and_of_more_the_first_count(store: Store) -> None:
    write(store, FRESH[:3], policies=4)
    assert scored(store, settings())[0].fresh == ()
    assert scored(store, settings(3))[0].fresh == tuple(FRESH[:3])
    write(store, FRESH)
    assert scored(store, settings(3))[0].fresh == tuple(FRESH[:3])
    assert scored(store, settings(5))[0].fresh == tuple(FRESH)  # until the study is run again


def test_policies_that_cannot_be_used_are_told_of(store: Store) -> None:
    write_run(
        store, "dense", 0, returns(0.0, 1.0, 1.0, 1.0), fingerprint={"name": "one", "evaluation": {"episodes": 4}}
    )
    write(store, FRESH, name="one", evaluation={"episodes": 4})
    assert scored(store, settings())[1] == ()
    write(store, FRESH, name="one", evaluation={"episodes": 3})
    task, problems = scored(store, settings())
    assert task.fresh == () and len(problems) == 1
    assert "evaluation.episodes: the files have 3, the dense agents have 4" in problems[0]
    store.untrained("reach-v3").scores.write_text("{}")
    assert "can't be read" in scored(store, settings())[1][0]


def test_success_that_was_never_reported_is_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write_run(store, "dense", 0, success(0.0, 0.5, 1.0, 1.0))
    write_untrained(
        store.untrained("reach-v3"), "reach-v3", UntrainedScores({}, 3, [1.0, 2.0, 3.0], [None, 1.0, 0.0], {})
    )
    assert scored(store, settings())[0].untrained == pytest.approx(1 / 3)


def test_dense_agents_must_gain_more_than_single_policies_scatter(store: Store) -> None:
    sample = UntrainedScores({}, 4, FRESH, [None] * 4, {})
    runs = read_runs(store, "reach-v3", [0, 1])
    assert least_gain_of(runs, sample) == pytest.approx(statistics.pstdev(FRESH))
    assert least_gain_of(runs) == pytest.approx(statistics.pstdev([-21.0, -19.0, -41.0, -39.0]))
