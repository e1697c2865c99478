import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from rlottery.agents.description import Spec
from rlottery.config import Config
from rlottery.config.recipes import TicketRecipe
from rlottery.errors import StudyError
from rlottery.study.execution.cgroups import Limit
from rlottery.study.planning.arms import arms_of
from rlottery.study.planning.jobs import Job, list_jobs
from rlottery.study.planning.plan import Tracked
from rlottery.study.resources import estimate, memory
from rlottery.study.resources.estimate import Rates, estimate_table
from rlottery.study.resources.memory import (
    ADDRESS_SPACE,
    COMMAND,
    EPISODE,
    EVALUATION,
    FIGURES,
    LIBRARIES,
    METAWORLD,
    METAWORLD_MODEL,
    MOST_IN_FIGURES,
    REPORTED,
    TEMPLATE,
    WORKER_BYTES,
    Available,
    available_memory,
    check_memory,
    memory_warnings,
    run_memory,
    study_memory,
)
from rlottery.training import replay_buffer as replay
from rlottery.training.replay_buffer import ReplayBuffer
from tests.study.studies import job, shown, tiny_config

# 3 observations, 1 action, actor 3-2-2 (mean and log-std), critics 4-5-1:
# 3*2 + 2*2 = 10 weights in the actor, 4*5 + 5*1 = 25 in either critic.
SMALL = ("network.actor=[2]", "network.critic=[5]", "sac.batch_size=7")
SPEC = Spec(3, 1)
AGENT = 4 * (3 * 10 + 4 * 50)
"""Weights and two moments, and the target critics."""
WEIGHTS = 4 * 60
UNITS = (3 + 2 + 2) + 2 * (4 + 5 + 1)
"""Of the actor and of both critics, inputs and outputs among them."""
TRANSITION = 4 * (3 + 1 + 1 + 3 + 1)
RING = 300 * TRANSITION
TRAINED = 5 * AGENT + 3 * 4 * 7 * UNITS + RING
EVALUATIONS, EPISODES = 3, 1
"""Of the tiny study: before training, half-way and at the end."""
REMEMBERED = REPORTED + 60 / 8 + EVALUATIONS * (EVALUATION + EPISODES * EPISODE)
"""Of each run by the report: 60 weights are 60 bits."""
OF_RUN = FIGURES + REMEMBERED


@pytest.fixture
def small(tmp_path: Path) -> Config:
    return tiny_config(tmp_path, *SMALL)


@pytest.mark.parametrize("stage", ["dense", "ticket"])
def test_a_run_holds_its_agent_its_activations_and_its_ring(small: Config, stage: str) -> None:
    assert run_memory(job(small, stage), SPEC) == (TRAINED, 0)


def test_a_mask_holds_an_agent_and_evidence_and_maps_the_replay_that_it_reads(small: Config) -> None:
    own = AGENT + 6 * WEIGHTS
    assert run_memory(job(small, "mask", method="gradient"), SPEC) == (own + 3 * 4 * 8 * UNITS, RING)  # batches of 8
    assert run_memory(job(small, "mask", method="magnitude"), SPEC) == (own, 0)


def test_a_ring_is_as_large_as_what_is_added_or_as_its_capacity(tmp_path: Path) -> None:
    def of(*overrides: str) -> float:
        return run_memory(job(tiny_config(tmp_path, *SMALL, *overrides), "dense"), SPEC).own

    assert of("training.replay_capacity=1000000") == TRAINED
    assert TRAINED - of("training.replay_capacity=100") == 200 * TRANSITION


def test_what_is_trained_again_for_rewind_points_stops_at_the_last(tmp_path: Path) -> None:
    arm = TicketRecipe(name="early", criterion="magnitude", sparsity=0.5, rewind={"step": 200})
    config = tiny_config(tmp_path, *SMALL).model_copy(update={"arms": (arm,)})
    todo = list_jobs(config, arms_of(config, None), ("dense", "ticket"))
    found = {each.stage: run_memory(each, SPEC).own for each in todo}
    assert found["rewind"] == TRAINED - 100 * TRANSITION
    assert found["ticket"] == TRAINED - 200 * TRANSITION  # trained for 100 steps


def test_meta_world_tasks_add_what_they_import_and_each_environment(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, *SMALL, "tasks=[reach-v3]")
    assert run_memory(job(config, "dense"), SPEC).own == TRAINED + METAWORLD + 2 * METAWORLD_MODEL
    assert (
        study_memory([job(config, "dense")], [SPEC], 1).command
        == COMMAND + TEMPLATE + OF_RUN + METAWORLD + METAWORLD_MODEL
    )


def test_several_environments_are_counted_in_training_and_in_evaluations(tmp_path: Path) -> None:
    settings = "training.environments=50", "evaluation.episodes=3", "tasks=[reach-v3]"
    config = tiny_config(tmp_path, *SMALL, *settings)
    assert run_memory(job(config, "dense"), SPEC).own == TRAINED + METAWORLD + 53 * METAWORLD_MODEL


class TestStudy:
    def test_workers_add_up_and_code_is_there_once(self, small: Config) -> None:
        todo = [job(small, "dense", seed=seed) for seed in range(3)]
        assert study_memory(todo, [SPEC], 2) == (
            COMMAND + TEMPLATE + 3 * OF_RUN,
            2 * (WORKER_BYTES["dense"] + TRAINED),
            LIBRARIES,
        )
        assert study_memory(todo, [SPEC], 8).workers == 3 * (WORKER_BYTES["dense"] + TRAINED)

    def test_a_buffer_that_two_masks_read_is_there_once(self, small: Config) -> None:
        def shared(*todo: Job) -> float:
            return study_memory(todo, [SPEC], 2).shared - LIBRARIES

        one = job(small, "mask", method="gradient")
        assert shared(one, one) == RING
        assert shared(one, job(small, "mask", seed=1, method="gradient")) == 2 * RING

    def test_runs_of_one_worker_share_it(self, small: Config) -> None:
        todo = [job(small, "dense", seed=seed) for seed in range(4)]
        assert study_memory(todo, [SPEC], 1, together=4).workers == WORKER_BYTES["dense"] + 4 * TRAINED

    def test_figures_take_no_more_for_thousands_of_runs(self, small: Config) -> None:
        few = [job(small, "dense", seed=seed) for seed in range(MOST_IN_FIGURES)]
        more = [job(small, "dense", seed=seed) for seed in range(MOST_IN_FIGURES + 7)]
        added = study_memory(more, [SPEC], 1).command - study_memory(few, [SPEC], 1).command
        assert added == pytest.approx(7 * REMEMBERED)

    def test_nothing_to_do(self) -> None:
        assert study_memory([], [SPEC], 2).workers == 0


class TestWarnings:
    @pytest.fixture(autouse=True)
    def _measured(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory, "task_spec", lambda task: SPEC)
        monkeypatch.setattr(memory, "address_space", lambda: math.inf)

    def told(self, config: Config, available: float | None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        found = None if available is None else Available(available, "what /group/memory.max leaves")
        monkeypatch.setattr(memory, "available_memory", lambda: found)
        return memory_warnings(config, [job(config, "dense", seed=seed) for seed in range(4)], 4, 1)

    def test_a_machine_with_room(self, small: Config, monkeypatch: pytest.MonkeyPatch) -> None:
        needed = COMMAND + TEMPLATE + 4 * OF_RUN + LIBRARIES + 4 * (WORKER_BYTES["dense"] + TRAINED)
        assert self.told(small, needed, monkeypatch) == []
        assert self.told(small, None, monkeypatch) == []

    def test_a_machine_without(self, small: Config, monkeypatch: pytest.MonkeyPatch) -> None:
        for_two = COMMAND + TEMPLATE + 4 * OF_RUN + LIBRARIES + 2 * (WORKER_BYTES["dense"] + TRAINED)
        (said,) = self.told(small, for_two, monkeypatch)
        assert "memory with 4 workers" in said and "MB (what /group/memory.max leaves) is available" in said
        assert said.endswith("Set workers=2.")
        (said,) = self.told(small, 1000, monkeypatch)
        assert "replay_capacity" in said

    def test_address_space_is_that_of_one_worker(self, small: Config, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory, "address_space", lambda: ADDRESS_SPACE + TRAINED)
        assert self.told(small, None, monkeypatch) == []
        monkeypatch.setattr(memory, "address_space", lambda: ADDRESS_SPACE + TRAINED - 1)
        (said,) = self.told(small, None, monkeypatch)
        assert "`ulimit -v` allows only 1.6 GB. Run this first: ulimit -v unlimited" in said


class TestMoreThanTheMachineHas:
    """A machine with 2 MiB of memory and 1 MiB of swap."""

    @pytest.fixture(autouse=True)
    def _measured(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(memory, "task_spec", lambda task: SPEC)
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc" / "meminfo").write_text("MemTotal: 2048 kB\nMemAvailable: 1 kB\nSwapTotal: 1024 kB\n")

    def check(self, folder: Path, *overrides: str) -> None:
        config = tiny_config(folder, *SMALL, "training.env_steps=1e4", *overrides)
        check_memory(config, [job(config, "mask", method="gradient"), job(config, "dense")], folder)

    def test_enough(self, tmp_path: Path) -> None:
        self.check(tmp_path)

    @pytest.mark.parametrize(
        ("override", "key", "needs"),
        [
            # Batches: 2 x 4 bytes of 27 units
            ("sac.batch_size=1e5", "sac.batch_size", 3 * 4 * 1e5 * UNITS),
            ("pruning.gradient_batch_size=1e5", "pruning.gradient_batch_size", 3 * 4 * 1e5 * UNITS),
            ("training.env_steps=1e6", "training.replay_capacity", 1e6 * TRANSITION),
            # 3 x 60,000 + 60,000 x 2 weights of the actor, and 50 of the critics
            ("network.actor=[6e4]", "network", 5 * 4 * (3 * 30e4 + 4 * 50)),
        ],
    )
    def test_too_much_of_one_thing(self, tmp_path: Path, override: str, key: str, needs: float) -> None:
        with pytest.raises(StudyError) as caught:
            self.check(tmp_path, override)
        text = str(caught.value)
        assert f"{needs / 1e6:,.1f} MB of it because of {key}, but this machine has 3.1 MB" in text
        assert text.endswith(f" Lower {key}.")

    def test_a_system_that_does_not_say(self, tmp_path: Path) -> None:
        (tmp_path / "proc" / "meminfo").unlink()
        self.check(tmp_path, "sac.batch_size=1e5")


def test_a_dry_run_tells(small: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = Rates(gemm=1e9, env_steps=1000.0, episode_steps=200.0, spec=SPEC)
    monkeypatch.setattr(estimate, "measure", lambda config: [rates])
    needed = COMMAND + TEMPLATE + OF_RUN + LIBRARIES + WORKER_BYTES["dense"] + TRAINED
    said = shown(estimate_table(small, [Tracked(job(small, "dense"))]))
    assert f"Memory at most {needed / 1e6:.1f} MB with 1 worker." in said
    assert f"This machine: {'; '.join(estimate.machine_limits())}." in " ".join(said.split())
    assert "This study may need" not in said
    monkeypatch.setattr(memory, "available_memory", lambda: Available(1e6, "what /group/memory.max leaves"))
    monkeypatch.setattr(estimate, "available_memory", memory.available_memory)
    said = " ".join(shown(estimate_table(small, [Tracked(job(small, "dense"))])).split())
    assert "memory 1.0 MB (what /group/memory.max leaves)" in said and "This study may need" in said


def test_what_is_available_is_what_the_system_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "proc" / "meminfo"
    told.parent.mkdir()
    told.write_text("MemTotal:       24683520 kB\nMemAvailable:   21810000 kB\nHugePages_Total:       0\n")
    assert available_memory(tmp_path) == (21_810_000 * 1024, "what this machine has left")
    monkeypatch.setattr(memory, "memory_left", lambda root: Limit(5e6, "/group/memory.max"))
    assert str(available_memory(tmp_path)) == "5.0 MB (what /group/memory.max leaves)"
    told.write_text("MemTotal:       24683520 kB\n")
    assert available_memory(tmp_path) == (5e6, "what /group/memory.max leaves")
    monkeypatch.setattr(memory, "memory_left", lambda root: None)
    assert available_memory(tmp_path) is None
    assert available_memory(tmp_path / "none") is None


@pytest.fixture
def buffer() -> ReplayBuffer:
    """18 MB, and 8 of them observations."""
    buffer = ReplayBuffer(50_000, 39, 4)
    for _ in range(buffer.capacity):
        buffer.add(np.zeros(39), np.zeros(4), 0.0, np.zeros(39), False)
    return buffer


def test_a_replay_is_saved_without_a_copy_of_a_field(buffer: ReplayBuffer, tmp_path: Path) -> None:
    tracemalloc.start()
    buffer.save(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_a_mapped_replay_is_read_in_place(buffer: ReplayBuffer, tmp_path: Path) -> None:
    buffer.save(tmp_path)
    generator = np.random.default_rng(0)
    tracemalloc.start()
    stored = replay.load_replay(tmp_path)
    for _ in range(10):
        replay.sample(stored, generator, 64)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * 64 * buffer.row_bytes + 100_000  # a header is read as Python
    assert all(isinstance(field, np.memmap) and not field.flags.writeable for field in stored.fields.values())
