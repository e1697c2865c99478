from pathlib import Path

import pytest

from rlottery.config import Config, load_config
from rlottery.errors import ConfigError
from rlottery.study.execution.bundles import MOST_TOGETHER, bundles, most_together
from rlottery.study.planning.arms import arms_of
from rlottery.study.planning.jobs import STAGES, Job, list_jobs, untrained_jobs

STUDY = """\
tasks: [Pendulum-v1, HalfCheetah-v5]
seeds: [0, 1, 2]
arms:
  - {name: magnitude, criterion: magnitude, sparsity: 0.8}
  - {name: set, schedule: set, sparsity: 0.8}
  - {control: small-dense, of: magnitude}
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "config.yaml"
    path.write_text(STUDY)
    return load_config(path, [])


def planned(config: Config, *stages: str) -> list[Job]:
    return [job for job in list_jobs(config, arms_of(config, None), STAGES) if job.stage in stages]


def labels(found: list[list[Job]]) -> list[list[str]]:
    return [[job.label for job in bundle] for bundle in found]


def test_runs_of_a_task_are_trained_together(config: Config) -> None:
    found = labels(bundles(planned(config, "dense"), 5, most=16))
    # Six runs and five workers: as many of the first task as make the rest fit.
    assert found[0] == ["Pendulum-v1 seed 0 dense", "Pendulum-v1 seed 1 dense"]
    assert labels(bundles(planned(config, "dense"), 1, most=16)) == [
        [f"Pendulum-v1 seed {seed} dense" for seed in range(3)]
    ]
    assert labels(bundles(planned(config, "dense"), 2, most=16)) == [
        [f"{task} seed {seed} dense" for seed in range(3)] for task in ("Pendulum-v1", "HalfCheetah-v5")
    ]


def test_dense_agents_and_tickets_of_all_arms_are_trained_together_but_for_other_networks(config: Config) -> None:
    ready = [job for job in planned(config, "dense", "ticket") if job.task_index == 0]
    first, *others = bundles(ready, 4, most=16)
    assert [len(bundle) for bundle in bundles(ready, 1, most=16)] == [9]
    assert {job.arm_name for job in first} <= {"dense", "magnitude", "set"}
    small = [bundle for bundle in others if bundle[0].arm_name.startswith("small-dense")]
    assert all(len(bundle) == 1 for bundle in small)


def test_a_worker_has_no_more_than_it_may(config: Config) -> None:
    assert [len(bundle) for bundle in bundles(planned(config, "dense"), 3, most=2)] == [2, 1, 2]


def test_short_jobs_come_first_one_a_worker_and_hold_back_the_others(config: Config) -> None:
    ready = [*planned(config, "ticket")[:4], *planned(config, "mask")[:3]]
    found = bundles(ready, 2, most=16)
    assert [[job.stage for job in bundle] for bundle in found] == [["mask"], ["mask"]]
    assert bundles(ready[:4], 2, most=16, short_running=True) == []
    assert len(bundles(ready[:4], 2, most=16)) == 2


def test_untrained_policies_take_the_workers_that_are_left_and_nothing_waits_for_them(config: Config) -> None:
    ready = [*untrained_jobs(config, STAGES), *planned(config, "dense")]  # later stages start first
    everywhere = labels(bundles(ready, 2, most=16))
    assert everywhere == labels(bundles(planned(config, "dense"), 2, most=16))
    assert labels(bundles(ready, 7, most=16))[6:] == [["Pendulum-v1 untrained policies"]]
    assert labels(bundles(ready[:2], 2, most=16)) == [[job.label] for job in ready[:2]]
    # They don't take a worker from tickets that wait for a mask.
    assert bundles(ready[:2], 2, most=16, short_running=True) == []


def test_without_a_program_for_many_jobs_begin_as_they_come(config: Config) -> None:
    ready = [*planned(config, "ticket")[:2], *planned(config, "mask")[:2]]
    assert bundles(ready, 3, most=1, short_running=True) == [[job] for job in ready[:3]]
    assert bundles(ready, 0, most=1) == bundles(ready, 0, most=16) == bundles([], 2, most=16) == []


@pytest.mark.parametrize(
    ("device", "asked", "most"),
    [
        ("cpu", None, 1),
        ("cuda", None, MOST_TOGETHER),
        ("cpu", "1", MOST_TOGETHER),
        ("cuda", "0", 1),
        ("cuda", "1", MOST_TOGETHER),
    ],
)
def test_accelerators_train_many_unless_told_otherwise(
    device: str, asked: str | None, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RLOTTERY_TOGETHER", raising=False)
    if asked is not None:
        monkeypatch.setenv("RLOTTERY_TOGETHER", asked)
    assert most_together(device) == most


def test_a_choice_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLOTTERY_TOGETHER", "yes")
    with pytest.raises(ConfigError, match="RLOTTERY_TOGETHER must be 0 or 1, not 'yes'"):
        most_together("cpu")
