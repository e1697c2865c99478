"""A run resumed from a checkpoint ends with the same bits, and a damaged checkpoint is never used."""

import itertools
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlottery import envs
from rlottery.agents.algorithms import SACSetup
from rlottery.agents.base import jax_key, kernels, nest_kernels, to_arrays
from rlottery.agents.description import Spec
from rlottery.agents.sac import SAC
from rlottery.config import NetworkSettings, SACSettings, Training
from rlottery.envs import Environment
from rlottery.errors import StudyError, TaskError
from rlottery.pruning.prune import prune
from rlottery.seeding import Streams
from rlottery.storage.checkpoint_record import newest_checkpoint, record_paths
from rlottery.storage.manifests import read_sealed, write_sealed
from rlottery.storage.metrics_log import WALL_CLOCK, MetricsLog, read_metrics
from rlottery.storage.paths import RunFiles
from rlottery.training import checkpoints
from rlottery.training.checkpoints import Checkpoints
from rlottery.training.dynamic_sparsity import DynamicSparsity
from rlottery.training.learner import CpuLearner
from rlottery.training.loop import Loop, TrainingPlan, action_noise, begin, train
from tests.cases import OTHERS, PPO, TD3, Case
from tests.cases import SAC as SAC_CASE
from tests.environments import Target

SETTINGS = SACSetup(SACSettings(batch_size=8), NetworkSettings(actor=(4,), critic=(4,)))
FINGERPRINT = {"version": 1, "sac": {"batch_size": 8}}
VERSIONS = {"jax": "0.10.2"}


RIGL = partial(
    DynamicSparsity,
    kind="rigl",
    interval=10,
    begin=18,
    end=45,
    drop=0.5,
    sparsity={"actor": 0.4, "critic": 0.4},
    allocation="uniform",
    floor=1,
    algorithm=SAC,
    settings=SETTINGS,
)


class KilledError(Exception):
    """Stands in for a kill."""


class Study:
    """One short run that can be killed and gone on with.

    Args:
        folder: the run's.
        ticket: whether it is trained with a mask.
        capacity: of the replay buffer.
        make: its environment.
        updates_per_step: of the training settings.
        rigl: whether its masks change, at steps 20, 30 and 40.
        environments: episodes at the same time.
    """

    def __init__(
        self,
        folder: Path,
        *,
        ticket: bool = False,
        capacity: int | str = "all",
        env_steps: int = 60,
        spec: Spec = Spec(2, 1),  # noqa: B008
        make: Callable[[], Environment] = lambda: Environment("Target", Target(steps=7)),
        updates_per_step: Any = 1,
        rigl: bool = False,
        case: Case = SAC_CASE,
        environments: int = 1,
    ) -> None:
        own = {"rollout_steps": 20, "batch_size": 10} if case.name == "ppo" else {}
        self.algorithm, self.settings = case.algorithm, SETTINGS if case is SAC_CASE else case.settings(4, **own)
        rollouts = case.description.rollouts(self.settings)
        if rollouts is not None:
            updates = env_steps // rollouts.steps * rollouts.updates
            self.settings = self.settings._replace(environments=environments, updates=updates)
        self.files, self.make, self.spec = RunFiles(folder), make, spec
        self.streams = Streams("tests", "Target-v0", 0, "ticket" if ticket else "dense")
        training = Training(
            env_steps=env_steps,
            warmup_steps=10,
            replay_capacity=capacity,
            updates_per_step=updates_per_step,
            environments=environments,
        )
        dynamic = RIGL(streams=self.streams) if rigl else None
        if rollouts is not None:
            training = self.settings.hyperparameters.schedule(training)
        self.schedule = TrainingPlan(
            training, self.settings.batch_size, 20, [1, 2], self.streams, dynamic=dynamic, rollouts=rollouts
        )
        self.ticket = ticket

    def fresh(self) -> Loop:
        algorithm, settings = self.algorithm, self.settings
        params = algorithm.init_params(jax_key(1), self.spec, settings)
        state = algorithm.init(params, jax_key(self.streams.for_purpose("updates")), settings)
        if self.ticket:
            masks = {}
            for group in ("actor", "critic"):
                layers = {path: np.asarray(kernel) for path, kernel in kernels(params[group]).items()}
                masks[group] = nest_kernels(prune({name: np.abs(layer) for name, layer in layers.items()}, 0.4))
            state = algorithm.with_masks(state, masks)
        if self.schedule.dynamic is not None:
            state = self.schedule.dynamic.start(state)
        learner = CpuLearner(algorithm, settings, state, self.spec, action_noise(self.streams))
        return begin(learner, self.schedule, self.spec)

    def run(self, save: Callable[[Loop], bool] = lambda loop: True, kill_after: int | None = None) -> Loop:
        """Train to the end, or until `kill_after` steps; a checkpoint where `save` says so."""
        loop, saver = self.fresh(), Checkpoints(self.files, FINGERPRINT, 0, VERSIONS)
        position = saver.restore(loop)
        self.notes, self.began_at = saver.notes, loop.env_steps
        with MetricsLog(self.files.metrics, self.files.tensorboard, position, loop.env_steps) as log:

            def tick(step: int) -> None:
                if kill_after is not None and step >= kill_after:
                    raise KilledError

            for _ in train(
                loop, self.schedule, self.make, SimpleNamespace(write=log.write, tick=tick, enter=lambda phase: None)
            ):
                if save(loop):
                    saver.save(loop, log.position())
            return loop

    def killed(self, after: int, save: Callable[[Loop], bool] = lambda loop: True) -> None:
        with pytest.raises(KilledError):
            self.run(save, kill_after=after)


def bits(study: Study, loop: Loop) -> dict[str, Any]:
    """All that must not differ."""
    rows = [{k: v for k, v in row.items() if k not in WALL_CLOCK} for row in read_metrics(study.files.metrics)]
    found: dict[str, Any] = {name: array.tobytes() for name, array in to_arrays(loop.learner.state).items()}
    found |= {name: field.tobytes() for name, field in loop.replay.stored().fields.items()}
    return found | {"metrics": rows, "steps": (loop.env_steps, loop.episodes)}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[bool, int | str], dict[str, Any]]:
    found = {}
    for ticket in (False, True):
        for capacity in ("all", 20):
            study = Study(tmp_path_factory.mktemp("whole") / "run", ticket=ticket, capacity=capacity)
            found[ticket, capacity] = bits(study, study.run(save=lambda loop: False))
    return found


@pytest.mark.parametrize("ticket", [False, True])
@pytest.mark.parametrize("capacity", ["all", 20])
@pytest.mark.parametrize("kills", [[8], [14], [30, 31], [15, 36, 59], [6, 59]])
def test_killed_and_gone_on_with_is_never_killed(
    tmp_path: Path, undisturbed: Any, ticket: bool, capacity: int | str, kills: list[int]
) -> None:
    study = Study(tmp_path / "run", ticket=ticket, capacity=capacity)
    for after in kills:
        study.killed(after)
        assert study.began_at % 7 == 0
    loop = study.run()
    assert study.began_at == kills[-1] // 7 * 7 - (7 if kills[-1] % 7 == 0 else 0)
    assert bits(study, loop) == undisturbed[ticket, capacity]


def test_the_delay_of_an_actor_goes_on_where_it_was(tmp_path: Path) -> None:
    """TD3's updates are counted in its state. After the kill, an odd number of them has been made."""
    one, other = (Study(tmp_path / name, ticket=True, case=TD3) for name in ("one", "other"))
    whole = bits(one, one.run(lambda loop: False))
    other.killed(22)
    assert bits(other, other.run()) == whole
    assert (other.began_at, whole["updates"]) == (21, np.int32(50).tobytes())


@pytest.mark.parametrize("environments", [1, 5])
@pytest.mark.parametrize("capacity", ["all", 25])
def test_killed_in_the_middle_of_a_rollout(tmp_path: Path, environments: int, capacity: int | str) -> None:
    """Rollouts end at steps 20, 40, 60 and 80; statistics, schedules and what was collected so far continue."""
    make = partial(several if environments > 1 else Study, ticket=True, case=PPO, capacity=capacity, env_steps=90)
    one, other = (make(tmp_path / name) for name in ("one", "other"))
    whole, began = bits(one, one.run(lambda loop: False)), []
    for after in (17, 38, 52, 75):
        other.killed(after)
        began.append(other.began_at)
    assert bits(other, other.run()) == whole
    assert all(step % 20 for step in began[1:]) and len(set(began)) == 4
    assert whole["updates"] == np.int32(16).tobytes() and whole["ends"]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kills=st.lists(st.integers(1, 59), max_size=4),
    saved=st.sets(st.integers(1, 8)),
    capacity=st.sampled_from(["all", 20]),
)
def test_wherever_it_is_saved_and_killed(
    tmp_path_factory: pytest.TempPathFactory, undisturbed: Any, kills: list[int], saved: set[int], capacity: int | str
) -> None:
    study = Study(tmp_path_factory.mktemp("any") / "run", capacity=capacity)
    for after in sorted(kills):
        study.killed(after, lambda loop: loop.episodes in saved)
    assert bits(study, study.run(lambda loop: loop.episodes in saved)) == undisturbed[False, capacity]


def test_killed_between_two_updates_and_before_masks_change(tmp_path: Path) -> None:
    """Updates at steps 18, 26, 34, ...; masks change at 20, 30 and 40, on batches that were sampled for it."""
    whole, other = (
        Study(tmp_path / name, updates_per_step={"every": 8, "updates": 2}, rigl=True) for name in ("whole", "other")
    )
    expected = bits(whole, whole.run(save=lambda loop: False))
    for after in (16, 25, 33, 38):
        other.killed(after)
    assert bits(other, other.run()) == expected
    assert other.began_at == 35


def several(folder: Path, **changes: Any) -> Study:
    """5 environments, whose episodes have 3, 4, 5, 6 and 7 steps; with 60 steps, each takes 12."""
    left = itertools.cycle([3, 4, 5, 6, 7, 7, 7])  # the last two are for evaluations
    make = lambda: Environment("Target", Target(steps=next(left), success_at=2))  # noqa: E731
    return Study(folder, make=make, environments=5, **changes)


@pytest.fixture(scope="module")
def several_undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[int | str, dict[str, Any]]:
    found = {}
    for capacity in ("all", 20):
        study = several(tmp_path_factory.mktemp("whole") / "run", capacity=capacity)
        found[capacity] = bits(study, study.run(save=lambda loop: False))
    return found


class TestSeveralEnvironments:
    @settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        kills=st.lists(st.integers(1, 60), max_size=4),
        saved=st.sets(st.integers(1, 12)),
        capacity=st.sampled_from(["all", 20]),
    )
    def test_wherever_it_is_saved_and_killed(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        several_undisturbed: Any,
        kills: list[int],
        saved: set[int],
        capacity: int | str,
    ) -> None:
        study = several(tmp_path_factory.mktemp("any") / "run", capacity=capacity)
        for after in sorted(kills):
            study.killed(after, lambda loop: loop.env_steps // 5 in saved)
        assert bits(study, study.run(lambda loop: loop.env_steps // 5 in saved)) == several_undisturbed[capacity]

    def test_open_episodes_are_saved_with_what_they_need(self, tmp_path: Path) -> None:
        study = several(tmp_path / "run")
        study.killed(22)
        record = newest_checkpoint(study.files)
        assert record is not None and record["env_steps"] == 20
        # After 4 steps of each: the episode of 3 has ended and another has begun, that of 4 has ended.
        assert record["open"] == [{"environment": i, "number": k} for i, k in ((0, 5), (2, 2), (3, 3), (4, 4))]
        assert "open_000000020.safetensors" in record["files"]
        assert record["files"]["open_000000020.safetensors"]["bytes"] < 1_000
        assert record["episode"] == {"ended": record["episode"]["ended"], "episodes": 2, "wrote_at": 0}

    def test_with_one_environment_nothing_is_open(self, tmp_path: Path) -> None:
        study = Study(tmp_path / "run")
        study.killed(30)
        record = newest_checkpoint(study.files)
        assert record is not None and "open" not in record
        assert not list(study.files.checkpoint.glob("open_*"))

    @pytest.mark.parametrize("change", ["start", "dynamics", "length"])
    def test_an_episode_that_takes_another_course_is_an_error(self, tmp_path: Path, change: str) -> None:
        class Changed(Target):
            def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
                super().reset(seed=seed)
                self._observation[0] += change == "start"
                return self._observe(), {}

            def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
                self._observation[0] += 1e-3 * (change == "dynamics")
                return super().step(action)

        study = several(tmp_path / "run")
        study.killed(22)
        study.make = lambda: Environment("Target", Changed(steps=2 if change == "length" else 7))
        with pytest.raises(TaskError, match=r"can't continue in the middle of episode [25]: .* lead to another obs"):
            study.run()

    @pytest.mark.parametrize("spoil", ["number", "environment", "missing"])
    def test_open_episodes_that_make_no_sense_are_skipped(
        self, tmp_path: Path, several_undisturbed: Any, spoil: str
    ) -> None:
        study = several(tmp_path / "run")
        study.killed(22)
        path = record_paths(study.files)[-1]
        record: dict[str, Any] = dict(read_sealed(path))
        if spoil == "missing":
            del record["open"]
        else:
            record["open"][-1][spoil] = -1 if spoil == "number" else 7
        write_sealed(path, record)
        assert bits(study, study.run()) == several_undisturbed["all"]
        assert study.began_at == 15
        assert len(study.notes) == 1


@pytest.mark.parametrize(
    ("task", "spec", "steps", "environments"),
    [
        ("Pendulum-v1", Spec(3, 1), 450, 1),
        ("InvertedPendulum-v5", Spec(4, 1), 90, 1),
        ("InvertedPendulum-v5", Spec(4, 1), 90, 5),
    ],
)
def test_on_gymnasiums_own_environments(tmp_path: Path, task: str, spec: Spec, steps: int, environments: int) -> None:
    make = partial(envs.make, task, {"max_episode_steps": 60})
    one, other = (
        Study(tmp_path / name, env_steps=steps, spec=spec, make=make, environments=environments)
        for name in ("one", "other")
    )
    whole = bits(one, one.run(lambda loop: False))
    other.killed(steps // 2)
    assert bits(other, other.run()) == whole
    assert other.began_at > 0


@OTHERS
def test_every_algorithm_with_several_environments(tmp_path: Path, case: Case) -> None:
    one, other = (
        Study(
            tmp_path / name,
            env_steps=300,
            spec=case.spec,
            make=partial(envs.make, case.task, {"max_episode_steps": 60}),
            environments=5,
            updates_per_step=0.25,
            case=case,
        )
        for name in ("one", "other")
    )
    whole = bits(one, one.run(lambda loop: False))
    other.killed(250)
    assert bits(other, other.run()) == whole
    assert other.began_at >= 200


@pytest.fixture(scope="module")
def killed_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was killed after 45 steps."""
    study = Study(tmp_path_factory.mktemp("killed") / "run")
    study.killed(45)
    return study.files.folder


@pytest.fixture
def study(killed_run: Path, tmp_path: Path) -> Study:
    """A copy of it."""
    return Study(Path(shutil.copytree(killed_run, tmp_path / "run")))


class TestFiles:
    def names(self, study: Study) -> list[str]:
        return sorted(path.name for path in study.files.checkpoint.iterdir())

    def test_two_checkpoints_stay_and_each_transition_is_written_once(self, study: Study) -> None:
        segments = [f"replay_{start:09d}_{start + 7:09d}.safetensors" for start in range(0, 42, 7)]
        steps = [f"step_{step:09d}.{kind}" for step in (35, 42) for kind in ("json", "safetensors")]
        assert self.names(study) == segments + steps

    def test_what_a_ring_has_lost_is_not_kept(self, tmp_path: Path) -> None:
        study = Study(tmp_path / "ring", capacity=10)
        study.killed(45)
        # The last two checkpoints hold transitions 25 to 34 and 32 to 41.
        assert [name for name in self.names(study) if name.startswith("replay")] == [
            f"replay_{start:09d}_{start + 7:09d}.safetensors" for start in (21, 28, 35)
        ]

    def test_many_transitions_are_written_in_pieces(
        self, tmp_path: Path, undisturbed: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(checkpoints.records, "PIECE_BYTES", 3 * 4 * (2 + 1 + 1 + 2 + 1) + 5)  # three transitions
        study = Study(tmp_path / "run")
        study.killed(15)
        assert [name for name in self.names(study) if name.startswith("replay")] == [
            f"replay_{start:09d}_{stop:09d}.safetensors"
            for start, stop in ((0, 3), (3, 6), (6, 7), (7, 10), (10, 13), (13, 14))
        ]
        assert bits(study, study.run()) == undisturbed[False, "all"]

    def test_the_record_lists_the_sessions(self, study: Study) -> None:
        study.killed(50)
        record = newest_checkpoint(study.files)
        assert record is not None
        assert [session["env_steps"] for session in record["sittings"]] == [0, 42]
        assert [session.get("versions") for session in record["sittings"]] == [VERSIONS, VERSIONS]
        assert record["written"] == 7
        assert 0 < record["cost"] < record["seconds"]

    def test_due_before_the_interval_would_be_passed(self, study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [100.0]
        monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
        monkeypatch.setattr(checkpoints.time, "time", lambda: -1e9)  # the machine's clock may jump
        saver, due = Checkpoints(study.files, FINGERPRINT, 120, VERSIONS), []
        for seconds in (30, 30, 30, 30):
            now[0] += seconds
            due.append(saver.due())
        # After 90 seconds another episode of 30 would just do; after 120 none would.
        assert due == [False, False, False, True]


class TestDamage:
    @pytest.mark.parametrize("how", ["flipped", "cut short", "removed"])
    @pytest.mark.parametrize(
        ("name", "goes_on_at"),
        [
            ("step_000000042.json", 35),
            ("step_000000042.safetensors", 35),
            ("replay_000000035_000000042.safetensors", 35),
            ("step_000000035.safetensors", 42),
            ("replay_000000000_000000007.safetensors", 0),
            ("../metrics.jsonl", 0),
        ],
    )
    def test_it_is_passed_over_and_said(
        self, study: Study, undisturbed: Any, name: str, goes_on_at: int, how: str
    ) -> None:
        path = study.files.checkpoint / name
        content = bytearray(path.read_bytes())
        content[len(content) // 3] ^= 4
        if how == "removed":
            path.unlink()
        else:
            path.write_bytes(content if how == "flipped" else content[: len(content) // 2])
        loop = study.run()
        assert study.began_at == goes_on_at
        told = goes_on_at == 42 or (how == "removed" and name.endswith("json"))
        assert told or any(path.name in note for note in study.notes)
        assert bits(study, loop) == undisturbed[False, "all"]

    @pytest.mark.parametrize("name", ["replay_000000000_000000007.safetensors", "step_000000042.safetensors"])
    def test_a_second_kill_after_damage_costs_no_more_than_another(
        self, study: Study, undisturbed: Any, name: str
    ) -> None:
        path = study.files.checkpoint / name
        path.write_bytes(path.read_bytes()[:-1])
        began = 35 if name.startswith("step") else 0
        study.killed(began + 16)
        assert study.began_at == began
        loop = study.run()
        assert study.began_at == began + 14
        assert bits(study, loop) == undisturbed[False, "all"]

    def test_a_checkpoint_of_another_config_is_an_error(self, study: Study) -> None:
        other = Checkpoints(study.files, FINGERPRINT | {"version": 2}, 0, VERSIONS)
        with pytest.raises(StudyError, match="version: the files have 1, this config asks for 2"):
            other.restore(study.fresh())

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("segments", []),
            ("segments", [[0, 10**12]]),
            ("segments", [[0, 7], [14, 42]]),
            ("env_steps", 41),
            ("generators", {}),
            ("generators", {"minibatches": {"bit_generator": "os.system"}, "exploration": {}}),
            ("losses", {"sums": 3}),
            ("losses", {"sums": {"critic_loss": "x"}, "updates": 1, "last": {}, "seconds": 1.0}),
            ("episode", {}),
            ("episode", {"ended": {}, "episodes": "a", "wrote_at": 0}),
            ("metrics", [-5, "0" * 64]),
            ("files", {}),
        ],
    )
    def test_a_record_that_makes_no_sense_is_passed_over(
        self, study: Study, undisturbed: Any, key: str, value: Any
    ) -> None:
        for path in record_paths(study.files):
            write_sealed(path, read_sealed(path) | {key: value})
        loop = study.run()
        assert study.began_at == 0
        assert len(study.notes) == 2
        assert bits(study, loop) == undisturbed[False, "all"]

    def test_an_agent_of_other_shapes_is_passed_over(self, study: Study, tmp_path: Path) -> None:
        other = Study(tmp_path / "other", spec=Spec(3, 1), make=partial(envs.make, "Pendulum-v1"))
        shutil.copytree(study.files.folder, other.files.folder)
        loop = other.fresh()
        saver = Checkpoints(other.files, FINGERPRINT, 0, VERSIONS)
        assert saver.restore(loop) is None
        assert all("doesn't fit this config" in note for note in saver.notes)
        assert (loop.env_steps, loop.replay.added) == (0, 0)
        fresh = other.fresh()
        assert np.array_equal(loop.minibatches.integers(100, size=5), fresh.minibatches.integers(100, size=5))

    def test_metrics_after_the_checkpoint_are_forgotten(self, study: Study, undisturbed: Any) -> None:
        with study.files.metrics.open("ab") as file:
            file.write(b'{"kind": "evaluation", "env_steps": 44, "torn')
        assert bits(study, study.run()) == undisturbed[False, "all"]
        assert all(json.loads(line) for line in study.files.metrics.read_text().splitlines())
