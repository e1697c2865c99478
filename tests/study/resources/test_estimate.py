from pathlib import Path

import pytest

from rlottery.agents.description import Spec
from rlottery.agents.kernels.library import Found, find
from rlottery.config import Config, Task, load_config
from rlottery.config.cluster_profile import ClusterProfile
from rlottery.errors import StudyError
from rlottery.processes.children import call_in_child
from rlottery.storage.trial_record import Trial
from rlottery.study.planning.arms import arms_of
from rlottery.study.planning.jobs import STAGES, list_jobs
from rlottery.study.planning.plan import JobState, Tracked
from rlottery.study.resources import estimate
from rlottery.study.resources.estimate import (
    GEMM_SHARE,
    MASK_SECONDS,
    SPARSE_SHARE,
    START_SECONDS,
    UPDATE_SECONDS,
    DaskCores,
    Rates,
    estimate_table,
    measure,
    share_of_dense,
    train_seconds,
    update_flops,
)
from tests.study.studies import job, shown, tiny_config

# 3 observations, 1 action, actor 3-2-2 (mean and log-std), critics 4-5-1:
# 3*2 + 2*2 = 10 weights in the actor, 4*5 + 5*1 = 25 in either critic.
SMALL = ("network.actor=[2]", "network.critic=[5]", "sac.batch_size=7")
RATES = Rates(gemm=1e9, env_steps=1000.0, episode_steps=200.0, spec=Spec(3, 1))


@pytest.fixture
def small(tmp_path: Path) -> Config:
    return tiny_config(tmp_path, *SMALL)


def test_operations_of_an_update(small: Config) -> None:
    actor, critic, batch = 10, 25, 7
    forward = 2  # operations a weight and transition; backward through weights or through inputs: the same
    next_actions = forward * actor
    target_values = forward * 2 * critic
    critic_loss = (forward + 2 + 2) * 2 * critic
    actor_loss = (forward + 2 + 2) * actor + (forward + 2) * 2 * critic
    total = batch * (next_actions + target_values + critic_loss + actor_loss)
    assert update_flops(small, small.tasks[0], Spec(3, 1)) == total


def test_operations_of_an_update_of_td3(tmp_path: Path) -> None:
    """Its actor 3-2-1 has no standard deviations, and is updated every fourth time, through one of the critics."""
    config = tiny_config(tmp_path, "algorithm=td3", *SMALL[:2], "td3={batch_size: 7, policy_delay: 4}")
    actor, critic, forward = 3 * 2 + 2 * 1, 25, 2
    critic_loss = (forward + 2 + 2) * 2 * critic
    targets = forward * actor + forward * 2 * critic
    actor_loss = (forward + 2 + 2) * actor + (forward + 2) * critic
    expected = 7 * (critic_loss + targets + actor_loss / 4)
    assert update_flops(config, config.tasks[0], Spec(3, 1)) == pytest.approx(expected, rel=1e-12)


def test_operations_of_a_usual_update_are_as_published(tmp_path: Path) -> None:
    usual = tiny_config(tmp_path, "network.actor=[256, 256]", "network.critic=[256, 256]")
    assert update_flops(usual, usual.tasks[0], Spec(39, 4)) == pytest.approx(631e6, rel=1e-3)


def test_seconds_of_a_run(small: Config) -> None:
    # 200 updates of 7 * (8 * 10 + 12 * 50) operations; 300 steps and 3 evaluations of one episode of 200.
    share = GEMM_SHARE[find().usable]
    updates = 200 * (7 * 680 / (share * 1e9) + UPDATE_SECONDS)
    assert train_seconds(small, small.tasks[0], RATES) == pytest.approx(START_SECONDS + updates + 0.9)
    updates = 200 * (7 * 170 / (share * 1e9) + UPDATE_SECONDS)
    quarter = train_seconds(small, small.tasks[0], RATES, share=0.25)
    assert quarter == pytest.approx(START_SECONDS + updates + 0.9)


def test_seconds_of_a_run_with_fewer_updates_than_steps(tmp_path: Path) -> None:
    small = tiny_config(tmp_path, *SMALL, "training.updates_per_step={every: 60, updates: 7}")
    # Steps 101 to 300: three groups of 60 steps.
    updates = 21 * (7 * 680 / (GEMM_SHARE[find().usable] * 1e9) + UPDATE_SECONDS)
    assert train_seconds(small, small.tasks[0], RATES) == pytest.approx(START_SECONDS + updates + 0.9)


ARMS = """
tasks: [Pendulum-v1]
seeds: [0]
training: {env_steps: 3000, warmup_steps: 100}
evaluation: {interval: 1000, score_evaluations: 1}
arms:
  - {name: taylor, criterion: taylor, sparsity: {actor: 0.5, critic: 0.9}}
  - {name: few, criterion: magnitude, sparsity: 0.2}
  - {name: rigl, schedule: rigl, sparsity: 0.9}
  - {name: slowly, schedule: gradual, sparsity: 0.9}
  - {name: random, control: random, of: taylor}
  - {name: small, control: small-dense, of: taylor}
  - {name: again, control: dense-again}
"""


@pytest.mark.parametrize("usable", [True, False])
def test_what_a_ticket_costs_depends_on_its_survivors_where_kernels_compute_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usable: bool
) -> None:
    monkeypatch.setattr(estimate, "find", lambda: Found("avx2" if usable else "", "tested"))
    (tmp_path / "config.yaml").write_text(ARMS)
    config = load_config(tmp_path / "config.yaml", [])
    found = {
        j.arm.name: share_of_dense(j, Spec(3, 1)) for j in list_jobs(config, arms_of(config, None), ["ticket"]) if j.arm
    }
    # 256 units: all networks have equally many weights, and the two critics make 24 of 32 operations with each.
    density = 8 / 32 * 0.5 + 24 / 32 * 0.1
    sparse = density * GEMM_SHARE[True] / SPARSE_SHARE if usable else 1.0
    expected = {
        "taylor": sparse,
        "few": 1.0,
        "rigl": 0.1 / density * sparse if usable else 1.0,
        "slowly": 1.0,
        "random": sparse,
        "small": density,
        "again": 1.0,
    }
    assert found == pytest.approx(expected)


class TestTable:
    @pytest.fixture(autouse=True)
    def _measured(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(estimate, "measure", lambda config: [RATES])

    def table(self, config: Config, *, done: tuple[str, ...] = ()) -> str:
        planned = list_jobs(config, [job(config, "mask").ticket_arm], STAGES)
        tracked = [Tracked(j, JobState.FOUND if j.stage in done else JobState.WAITING) for j in planned]
        return shown(estimate_table(config, tracked))

    def test_a_long_name_is_shown_whole_in_a_narrow_terminal(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path, "pruning.controls=[permuted-weights]")
        planned = list_jobs(config, arms_of(config, "magnitude"), ("ticket",))
        said = shown(estimate_table(config, [Tracked(of, JobState.FOUND) for of in planned]), 50)
        runs = [line.partition("already done")[0].partition("   ")[0].strip() for line in said.splitlines()]
        assert "permuted-weights-of-magnitude-80" in "".join(runs)

    def test_a_line_a_run_with_steps_time_and_disk(self, small: Config) -> None:
        lines = self.table(small).splitlines()
        assert lines[1].split() == ["seed", "0", "dense", "to", "do", "300", "9", "s", "0.0"]
        # The mask takes another 10 s.
        assert lines[2].split() == ["seed", "0", "magnitude-80", "to", "do", "300", "19", "s", "0.0"]

    def test_on_a_cluster_the_waves_of_jobs_are_listed(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path, "seeds=[0, 1, 2]")
        planned = list_jobs(config, [job(config, "mask").ticket_arm], STAGES)
        profile = ClusterProfile.model_validate({"time": "0:04:00", "cores": 2})
        said = " ".join(shown(estimate_table(config, [Tracked(of) for of in planned], profile)).split())
        waves = "2 jobs of dense agents and untrained policies, then 2 jobs of tickets and controls with their masks"
        assert f"On Slurm: {waves}, with 2 cores each; at most 2 in the queue or running (4 cores)." in said
        assert "a job may take 4 min." in said and said.endswith("Nothing was submitted.")

    @pytest.mark.parametrize(
        ("threads", "said"),
        [
            (2, "The cluster has 2 threads now: {time}, if nobody else uses it."),
            (0, "The scheduler at tcp://a:8786 has no workers now."),
            (None, "The scheduler at tcp://a:8786 doesn't answer, so the number of its threads is unknown."),
        ],
    )
    def test_on_dask_the_threads_of_its_workers_count(self, tmp_path: Path, threads: int | None, said: str) -> None:
        config = tiny_config(tmp_path, *SMALL, "seeds=[0, 1, 2]")
        planned = [Tracked(of) for of in list_jobs(config, [job(config, "mask").ticket_arm], STAGES)]
        told = " ".join(shown(estimate_table(config, planned, DaskCores("tcp://a:8786", threads))).split())
        waves = "3 runs of dense agents and untrained policies, then 3 runs of tickets and controls with their masks"
        time = f"{3 / 2 * (2 * train_seconds(config, Task(id='Pendulum-v1'), RATES) + MASK_SECONDS):.0f} s"
        assert f"On Dask: {waves}, each on a thread of a worker. {said.format(time=time)} About" in told
        assert "This machine" not in told and "Nothing was submitted." in told
        assert "Use wider networks, or reclaim: true." in told

    def test_work_that_is_done_costs_nothing(self, small: Config) -> None:
        assert self.table(small, done=("dense",)).splitlines()[1].split()[2:] == ["dense", "already", "done"]
        assert "Nothing is left to do" in self.table(small, done=STAGES)

    def test_stages_of_one_seed_wait_for_each_other(self, tmp_path: Path) -> None:
        one = 2 * train_seconds(tiny_config(tmp_path, *SMALL), Task(id="Pendulum-v1"), RATES) + MASK_SECONDS
        assert f"{one:.0f} s with 2 workers" in self.table(tiny_config(tmp_path, *SMALL, "workers=2"))
        many = tiny_config(tmp_path, *SMALL, "workers=2", "seeds=[0, 1, 2, 3]")
        assert f"{2 * one:.0f} s with 2 workers" in self.table(many)

    def test_it_says_that_nothing_was_started(self, small: Config) -> None:
        assert "Nothing was started" in self.table(small)
        assert not small.data.exists()


@pytest.mark.parametrize(("speed", "expected"), [(1234.5, 1234.5), (0.0, 0.1)])
def test_tasks_have_the_speed_of_their_trials_and_this_machine_is_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speed: float, expected: float
) -> None:
    trial = Trial({}, 3, 1, None, 200, True, speed, {}, [], "", {}, {})
    monkeypatch.setattr(estimate, "try_tasks", lambda config: {task.id: trial for task in config.tasks})
    monkeypatch.setattr(estimate, "call_in_child", lambda *_, **__: 2e9)
    config = tiny_config(tmp_path, "tasks=[Pendulum-v1, MountainCarContinuous-v0]")
    assert measure(config) == 2 * [Rates(2e9, expected, 200, Spec(3, 1))]


def test_a_core_is_measured_in_a_child() -> None:
    assert call_in_child("rlottery.study.resources.estimate:gemm_rate", 3, seconds=60) > 1e8


def test_a_machine_that_starts_no_process(small: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(estimate, "try_tasks", lambda config: {})
    monkeypatch.setattr(estimate, "call_in_child", refuse)
    with pytest.raises(StudyError, match="The speed of this machine can't be measured: .*temporarily unavailable"):
        measure(small)
