"""Every kind of arm on one small study: what its mask is, what it starts from, what it reads, and what it ends with."""

import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from rlottery import envs
from rlottery.agents.base import jax_key
from rlottery.agents.description import Spec
from rlottery.agents.sac import SAC
from rlottery.errors import StoppedError, StudyError
from rlottery.seeding import Streams, evaluation_seeds
from rlottery.storage.disk import read_arrays, write_arrays
from rlottery.storage.manifests import file_entry, read_manifest
from rlottery.storage.metrics_log import read_evaluations
from rlottery.storage.paths import REPLAY_FILES, RunFiles
from rlottery.study.planning.done import is_done
from rlottery.study.planning.jobs import STAGES
from rlottery.study.planning.plan import JobState, plan_study
from rlottery.study.stages.run_stage import run_stage
from rlottery.training.learner import CpuLearner
from rlottery.training.loop import TrainingPlan, action_noise, begin, train
from tests.laboratory import (
    ARMS,
    BOTH_SEEDS,
    ENV_STEPS,
    INTERVAL,
    MAGNITUDE,
    REWIND_STEP,
    WARMUP,
    Laboratory,
    copied,
    laboratory,
    places,
)
from tests.study.studies import change_manifest
from tests.training.recording import Rows, to_the_end

LAYERS = {
    "actor.layer_0": (3, 16),
    "actor.layer_1": (16, 16),
    "actor.layer_2": (16, 2),
    **{f"critic.{q}.layer_{i}": s for q in ("q1", "q2") for i, s in enumerate([(4, 16), (16, 16), (16, 1)])},
}
WITHOUT_MASK = ("small-dense", "dense-again")
BEFORE_TRAINING = ("snip", "grasp", "synflow", "magnitude-init")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    """All arms of seed 0, and of seed 1 what a transfer needs."""
    made = laboratory(tmp_path_factory.mktemp("laboratory"))
    made.run(lambda job: job.seed == 0 or job.arm_name in BOTH_SEEDS)
    return made


def total(mask: dict[str, np.ndarray], group: str) -> int:
    return sum(int(layer.sum()) for path, layer in mask.items() if path.startswith(group))


def counts(mask: dict[str, np.ndarray]) -> dict[str, int]:
    return {path: int(layer.sum()) for path, layer in mask.items()}


def equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[path], other[path]) for path in one)


def weights(agent: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The online weights of an agent's arrays, under the names of the initial ones."""
    return {name.removeprefix("params."): array for name, array in agent.items() if name.startswith("params.")}


def last_step(lab: Laboratory, arm: str) -> int:
    return read_evaluations(lab.job(arm).files.metrics)[-1]["env_steps"]


def masked_arms(lab: Laboratory) -> list[str]:
    return [
        job.arm_name for job in lab.done if job.stage == "ticket" and job.seed == 0 and job.arm_name not in WITHOUT_MASK
    ]


class TestAll:
    def test_every_job_is_done_and_says_so(self, lab: Laboratory) -> None:
        assert len({(job.seed, job.arm_name) for job in lab.done}) == 37
        assert all(is_done(job) for job in lab.done)

    def test_pruned_weights_are_zero_in_everything_that_is_saved(self, lab: Laboratory) -> None:
        arms = masked_arms(lab)
        assert len(arms) == 31
        for arm in arms:
            mask, agent = lab.mask(arm), lab.agent(arm)
            assert {path: layer.shape for path, layer in mask.items()} == LAYERS
            for layer, alive in mask.items():
                for name, array in places(agent, layer).items():
                    assert not array[~alive].any(), (arm, name)
                grown = lab.job(arm).ticket_arm.recipe.is_dynamic  # from zero, and some late
                assert grown or np.count_nonzero(agent[f"params.{layer}.kernel"]) > 0.9 * alive.sum(), (arm, layer)

    def test_pruned_weights_are_zero_where_training_begins(self, lab: Laboratory) -> None:
        for arm in masked_arms(lab):
            began = lab.began[0, arm].agent
            for layer in LAYERS:
                alive = began[f"masks.{layer}.kernel"]
                assert all(not array[~alive].any() for array in places(began, layer).values()), (arm, layer)
                if not lab.job(arm).ticket_arm.recipe.is_dynamic:
                    np.testing.assert_array_equal(alive, lab.mask(arm)[layer])

    def test_each_run_has_streams_of_its_own(self, lab: Laboratory) -> None:
        keys = {tuple(began.agent["key"]) for began in lab.began.values()}
        assert len(keys) == len(lab.began)
        replays = [np.load(lab.job("dense", seed=seed).files.folder / REPLAY_FILES[0]) for seed in (0, 1)]
        assert not np.array_equal(*replays)

    def test_an_empty_buffer_and_fresh_moments_at_the_start_of_each(self, lab: Laboratory) -> None:
        for key, began in lab.began.items():
            assert (began.stored, began.env_steps) == (0, 0), key
            assert not any(array.any() for name, array in began.agent.items() if name.startswith("optimizer.")), key

    def test_all_train_as_long_as_the_dense_agent_but_for_what_rewinding_gives_back(self, lab: Laboratory) -> None:
        back = {"imp", "imp.round-1", "random-imp"}
        for job in (job for job in lab.done if job.stage != "mask" and job.seed == 0):
            assert last_step(lab, job.arm_name) == ENV_STEPS - REWIND_STEP * (job.arm_name in back), job.arm_name


class TestMasks:
    # The actor has 336 weights, the critics 672.

    @pytest.mark.parametrize(
        ("arm", "actor", "critic"),
        [
            ("magnitude", 67, 134),
            ("erk", 67, 202),
            ("imp.round-1", 168, 336),
            ("imp", 84, 168),
            ("fine-tuned", 168, 336),
            ("gradual", 67, 134),
            ("set", 67, 134),
            ("rigl", 67, 134),
            ("snip", 67, 134),
            ("grasp", 67, 134),
            ("synflow", 67, 134),
            ("given", 24 + 64 + 32, 2 * (64 + 64 + 8)),
            ("random", 67, 134),
            ("random-erk", 67, 134),
            ("inverted-erk", 67, 202),
            ("random-rigl", 67, 134),
        ],
    )
    def test_as_many_survive_as_the_sparsity_says(self, lab: Laboratory, arm: str, actor: int, critic: int) -> None:
        mask = lab.mask(arm)
        assert (total(mask, "actor"), total(mask, "critic")) == (actor, critic)

    def test_magnitude_keeps_the_largest_trained_weights_of_each_network(self, lab: Laboratory) -> None:
        self.keeps_the_largest(lab.mask("magnitude"), lab.agent("dense"), dict.fromkeys(LAYERS, np.True_))

    def test_rounds_shrink_inside_each_other_and_score_what_the_round_before_trained(self, lab: Laboratory) -> None:
        first, last = lab.mask("imp.round-1"), lab.mask("imp")
        assert all((first[path] | ~last[path]).all() for path in LAYERS)
        self.keeps_the_largest(first, lab.agent("dense"), dict.fromkeys(LAYERS, np.True_))
        self.keeps_the_largest(last, lab.agent("imp.round-1"), first)

    @staticmethod
    def keeps_the_largest(mask: dict[str, np.ndarray], agent: dict[str, np.ndarray], within: dict[str, Any]) -> None:
        for network in ("actor", "critic.q1", "critic.q2"):
            paths = [path for path in LAYERS if path.startswith(network)]
            sizes = {path: np.abs(agent[f"params.{path}.kernel"]) for path in paths}
            lowest = min(sizes[path][mask[path]].min() for path in paths)
            assert lowest > max(sizes[path][within[path] & ~mask[path]].max(initial=0) for path in paths)

    @pytest.mark.parametrize(
        ("control", "of"), [("random", "magnitude"), ("random-imp", "imp"), ("random-fine-tuned", "fine-tuned"),
                            ("random-rigl", "rigl"), ("shuffled", "magnitude"), ("first-layer", "magnitude"),
                            ("inverted", "magnitude"), ("inverted-erk", "erk"), ("inverted-drawn", "drawn")]
    )  # fmt: skip
    def test_a_control_has_its_tickets_count_in_each_layer_and_another_mask(
        self, lab: Laboratory, control: str, of: str
    ) -> None:
        assert counts(lab.mask(control)) == counts(lab.mask(of))
        assert not equal(lab.mask(control), lab.mask(of))

    def test_random_is_no_nearer_to_the_ticket_than_chance(self, lab: Laboratory) -> None:
        one, other = lab.mask("random")["actor.layer_1"], lab.mask("magnitude")["actor.layer_1"]
        kept = int(other.sum())
        expected, spread = kept**2 / 256, (kept**2 / 256 * (1 - kept / 256) ** 2) ** 0.5
        assert abs((one & other).sum() - expected) < 4 * spread

    @pytest.mark.parametrize(("arm", "kept"), [("random-erk", (67, 134)), ("erk", (67, 202)), ("rigl", (67, 134))])
    def test_densities_by_erk(self, lab: Laboratory, arm: str, kept: tuple[int, int]) -> None:
        found = counts(lab.mask(arm))
        for group, count in zip(("actor", "critic"), kept, strict=True):
            expected = erk({path: shape for path, shape in LAYERS.items() if path.startswith(group)}, count)
            assert all(abs(found[path] - by_formula) < 1 for path, by_formula in expected.items())

    def test_shuffled_keeps_the_survivors_of_each_input_and_each_unit(self, lab: Laboratory) -> None:
        shuffled, ticket = lab.mask("shuffled"), lab.mask("magnitude")
        for path in LAYERS:
            for axis in (0, 1):
                np.testing.assert_array_equal(shuffled[path].sum(axis), ticket[path].sum(axis))

    def test_first_layer_keeps_that_layer_alone(self, lab: Laboratory) -> None:
        control, ticket = lab.mask("first-layer"), lab.mask("magnitude")
        for path in LAYERS:
            assert np.array_equal(control[path], ticket[path]) == path.endswith("layer_0"), path

    def test_inverted_keeps_the_smallest_trained_weights_of_each_layer(self, lab: Laboratory) -> None:
        mask, agent = lab.mask("inverted"), lab.agent("dense")
        for path, alive in mask.items():
            sizes = np.abs(agent[f"params.{path}.kernel"])
            assert sizes[alive].max() < sizes[~alive].min(initial=np.inf)

    @pytest.mark.parametrize(
        ("control", "of"), [("inverted", "magnitude"), ("inverted-drawn", "drawn"), ("inverted-erk", "erk")]
    )
    def test_inverted_shares_no_more_with_its_ticket_than_it_must(self, lab: Laboratory, control: str, of: str) -> None:
        inverted, ticket = lab.mask(control), lab.mask(of)
        for path, alive in ticket.items():
            assert (alive & inverted[path]).sum() == max(0, 2 * alive.sum() - alive.size), path

    def test_weights_controls_have_the_tickets_own_mask(self, lab: Laboratory) -> None:
        for arm in ("permuted", "fresh", "fresh-rescaled", "rescaled"):
            assert equal(lab.mask(arm), lab.mask("magnitude")), arm

    def test_given_shares_of_each_layer(self, lab: Laboratory) -> None:
        found = counts(lab.mask("given"))
        assert [found[f"actor.layer_{i}"] for i in range(3)] == [24, 64, 32]
        assert [found[f"critic.{q}.layer_{i}"] for q in ("q1", "q2") for i in range(3)] == [64, 64, 8] * 2

    def test_units_go_as_a_whole(self, lab: Laboratory) -> None:
        mask = lab.mask("units")
        for network in ("actor", "critic.q1", "critic.q2"):
            alive = np.ones(LAYERS[f"{network}.layer_0"][0], bool)
            for index in range(3):
                layer = mask[f"{network}.layer_{index}"]
                outputs = layer.any(0) if index < 2 else np.ones(layer.shape[1], bool)
                np.testing.assert_array_equal(layer, np.outer(alive, outputs))
                alive = outputs
        assert total(mask, "actor") < 336 and total(mask, "critic") < 672

    def test_a_transferred_mask_is_the_other_seeds(self, lab: Laboratory) -> None:
        for seed in (0, 1):
            assert equal(lab.mask("transferred", seed), lab.mask("magnitude", 1 - seed))
            start = weights(lab.began[seed, "transferred"].agent)
            expected = ticket_weights(lab.initial(seed), lab.mask("magnitude", 1 - seed))
            assert equal(start, expected)
        control = lab.mask("random-transferred")
        assert counts(control) == counts(lab.mask("magnitude", 1)) and not equal(control, lab.mask("magnitude", 1))
        assert counts(control) != counts(lab.mask("magnitude", 0))

    def test_masks_that_change_in_training(self, lab: Laboratory) -> None:
        for arm in ("set", "rigl", "gradual"):
            first = {path: lab.began[0, arm].agent[f"masks.{path}.kernel"] for path in LAYERS}
            last = lab.mask(arm)
            assert not equal(first, last)
            assert counts(first) == (
                {path: rows * columns for path, (rows, columns) in LAYERS.items()} if arm == "gradual" else counts(last)
            )


def erk(shapes: dict[str, tuple[int, int]], kept: int) -> dict[str, float]:
    """Survivors of each layer, epsilon (inputs + outputs), and all of a layer that would have more than it has."""
    full: set[str] = set()
    while True:
        rest = kept - sum(np.prod(shapes[path]) for path in full)
        epsilon = rest / sum(sum(shape) for path, shape in shapes.items() if path not in full)
        over = {path for path, shape in shapes.items() if path not in full and epsilon * sum(shape) > np.prod(shape)}
        if not over:
            return {p: float(np.prod(s)) if p in full else epsilon * sum(s) for p, s in shapes.items()}
        full |= over


def ticket_weights(initial: dict[str, np.ndarray], mask: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights times the mask; biases are not pruned."""
    return {
        name: np.where(mask[layer], array, 0) if (layer := name.removesuffix(".kernel")) != name else array
        for name, array in initial.items()
    }


class TestStarts:
    @pytest.mark.parametrize("arm", ["magnitude", "erk", "snip", "units", "given", "random", "shuffled", "inverted"])
    def test_a_ticket_starts_from_the_dense_initial_weights_times_its_mask(self, lab: Laboratory, arm: str) -> None:
        began = lab.began[0, arm].agent
        assert equal(weights(began), ticket_weights(lab.initial(), lab.mask(arm)))
        assert all(np.array_equal(began[n.replace("params.critic", "target_critic")], array)
                   for n, array in began.items() if n.startswith("params.critic"))  # fmt: skip

    def test_permuted_weights_are_the_tickets_at_other_places(self, lab: Laboratory) -> None:
        permuted = weights(lab.began[0, "permuted"].agent)
        ticket, mask = weights(lab.began[0, "magnitude"].agent), lab.mask("magnitude")
        for name, array in ticket.items():
            if name.endswith(".bias"):
                np.testing.assert_array_equal(permuted[name], array)
                continue
            alive = mask[name.removesuffix(".kernel")]
            np.testing.assert_array_equal(np.sort(permuted[name][alive]), np.sort(array[alive]))
            assert alive.sum() < 4 or not np.array_equal(permuted[name], array)

    def test_fresh_weights_are_others_of_the_same_distribution(self, lab: Laboratory) -> None:
        fresh, ticket = weights(lab.began[0, "fresh"].agent), weights(lab.began[0, "magnitude"].agent)
        for name, array in ticket.items():
            assert not np.isin(fresh[name][fresh[name] != 0], array).any(), name
            fan_in = LAYERS[name.rpartition(".")[0]][0]
            assert np.abs(fresh[name]).max() <= fan_in**-0.5 + 1e-6

    @pytest.mark.parametrize("arm", ["rescaled", "rigl"])
    def test_rescaled_weights_are_the_initial_ones_times_what_each_unit_lost(self, lab: Laboratory, arm: str) -> None:
        began = lab.began[0, arm].agent
        start, initial = weights(began), lab.initial()
        for layer, (fan_in, _) in LAYERS.items():
            alive = began[f"masks.{layer}.kernel"]
            factor = np.sqrt(fan_in / np.maximum(alive.sum(0), 1))
            expected = np.where(alive, initial[f"{layer}.kernel"] * factor, 0)
            np.testing.assert_allclose(start[f"{layer}.kernel"], expected, rtol=1e-6)
            np.testing.assert_array_equal(start[f"{layer}.bias"], initial[f"{layer}.bias"])

    @pytest.mark.parametrize("arm", ["rigl", "fresh-rescaled"])
    def test_rescaled_units_have_the_variance_of_dense_ones(self, lab: Laboratory, arm: str) -> None:
        """Weights within 1 / sqrt(fan-in), independent of the mask: their squares sum to 1 / 3 a unit, however many."""
        began = lab.began[0, arm].agent
        squares = sum(float(np.square(began[f"params.{layer}.kernel"]).sum()) for layer in LAYERS)
        units = sum(int(began[f"masks.{layer}.kernel"].any(0).sum()) for layer in LAYERS)
        assert units > 60
        assert squares / units == pytest.approx(1 / 3, rel=0.25)

    def test_small_dense_is_a_whole_network_of_no_more_weights(self, lab: Laboratory) -> None:
        start = weights(lab.began[0, "small-dense"].agent)
        # 3 w + w^2 + 2 w <= 67 and 4 w + w^2 + w <= 67 have the solution w = 6 alike: 66 weights each.
        assert start["actor.layer_0.kernel"].shape == (3, 6) and start["actor.layer_1.kernel"].shape == (6, 6)
        assert start["critic.q2.layer_0.kernel"].shape == (4, 6) and start["critic.q2.layer_2.kernel"].shape == (6, 1)
        assert all(np.all(array != 0) for array in start.values())
        manifest = read_manifest(lab.job("small-dense").files)
        assert manifest is not None
        assert manifest["sparsity"] == {"actor": pytest.approx(1 - 66 / 336), "critic": pytest.approx(1 - 132 / 672)}
        assert not lab.job("small-dense").files.mask.exists()

    def test_dense_again_starts_from_the_dense_weights_and_sees_other_data(self, lab: Laboratory) -> None:
        again, dense = lab.began[0, "dense-again"], lab.began[0, "dense"]
        assert equal(weights(again.agent), weights(dense.agent)) and equal(weights(again.agent), lab.initial())
        for purpose in ("updates", "actions", "minibatches", "warm-up actions"):
            assert again.plan.streams.for_purpose(purpose) != dense.plan.streams.for_purpose(purpose)
        ours, theirs = (read_evaluations(lab.job(arm).files.metrics) for arm in ("dense-again", "dense"))
        assert ours[0]["returns"] == theirs[0]["returns"]  # the same agent still, on the same goals
        assert ours[-1]["returns"] != theirs[-1]["returns"]
        assert not equal(weights(lab.agent("dense-again")), weights(lab.agent("dense")))

    @pytest.mark.parametrize("arm", ["fine-tuned", "random-fine-tuned"])
    def test_without_rewinding_a_ticket_goes_on_from_the_trained_agent(self, lab: Laboratory, arm: str) -> None:
        self.goes_on_from(lab, arm, lab.agent("dense"))

    @pytest.mark.parametrize("arm", ["imp.round-1", "imp", "random-imp"])
    def test_rewound_to_a_step_a_ticket_starts_from_the_dense_agent_of_that_step(
        self, lab: Laboratory, arm: str, at_the_step: dict[str, np.ndarray]
    ) -> None:
        self.goes_on_from(lab, arm, at_the_step)
        assert not equal(weights(at_the_step), lab.initial()) and not equal(
            weights(at_the_step), weights(lab.agent("dense"))
        )

    @staticmethod
    def goes_on_from(lab: Laboratory, arm: str, agent: dict[str, np.ndarray]) -> None:
        began, mask = lab.began[0, arm], lab.mask(arm)
        learnt = {n: a for n, a in agent.items() if n.startswith(("params.", "target_critic.", "log_temperature"))}
        for name, array in learnt.items():
            layer = name.removeprefix("params.").replace("target_critic.", "critic.").removesuffix(".kernel")
            expected = np.where(mask[layer], array, 0) if name.endswith(".kernel") else array
            np.testing.assert_array_equal(began.agent[name], expected)
        assert agent["log_temperature"] != 0
        assert not began.plan.warms_up_at_random


@pytest.fixture(scope="module")
def at_the_step(lab: Laboratory) -> dict[str, np.ndarray]:
    """The dense agent at the step that arms go back to, trained here by the training loop alone."""
    config, task = lab.config, lab.config.tasks[0]
    streams = Streams("laboratory", task.name, 0, "dense")
    settings, spec = SAC.description.settings(config, task), Spec(3, 1)
    plan = TrainingPlan(
        config.training, config.sac.batch_size, INTERVAL, evaluation_seeds("laboratory", task.name, 1), streams
    )
    params = SAC.init_params(jax_key(streams.for_weights()), spec=spec, settings=settings)
    state = SAC.init(params, jax_key(streams.for_purpose("updates")), settings)
    found: dict[str, np.ndarray] = {}

    class Look:
        def due(self, step: int) -> bool:
            return step == REWIND_STEP

        def save(self, step: int, state: Any) -> None:
            found.update(copied(state))

    learner, rewind_points = CpuLearner(SAC, settings, state, spec, action_noise(streams)), cast(Any, Look())
    to_the_end(train(begin(learner, plan, spec), plan, partial(envs.make, task.id, {}), Rows(), rewind_points))
    return found


class TestRewindPoints:
    def test_is_the_dense_agent_of_that_step(self, lab: Laboratory, at_the_step: dict[str, np.ndarray]) -> None:
        assert equal(read_arrays(point(lab)), at_the_step)

    @pytest.fixture
    def without(self, tmp_path: Path) -> Laboratory:
        """A study whose arms go back nowhere, its dense agent trained."""
        made = laboratory(tmp_path, f"arms:\n{MAGNITUDE}")
        made.run(lambda job: job.seed == 0 and job.stage == "dense")
        assert not point(made).exists()
        return made

    def test_one_asked_for_later_is_made_with_the_same_bits(self, lab: Laboratory, without: Laboratory) -> None:
        files = without.job("dense").files
        before = {path.name: path.read_bytes() for path in files.folder.glob("*.safetensors")}
        asking = laboratory(without.config.data.parent)
        assert is_done(asking.job("dense"))
        points = asking.job("dense", "rewind")
        assert not is_done(points)
        run_stage(points)
        assert is_done(points)
        assert point(asking).read_bytes() == point(lab).read_bytes()
        assert before == {
            path.name: path.read_bytes() for path in files.folder.glob("*.safetensors") if path != point(asking)
        }
        assert files.metrics.read_bytes().count(b"\n") == dense_files(lab).metrics.read_bytes().count(b"\n")

    def test_other_numbers_than_the_metrics_hold_are_an_error_and_leave_nothing(self, without: Laboratory) -> None:
        files = without.job("dense").files
        rows = files.metrics.read_text().splitlines()
        changed = next(i for i, row in enumerate(rows) if f'"env_steps": {INTERVAL}' in row and "evaluation" in row)
        rows[changed] = rows[changed].replace('"returns": [-', '"returns": [-1')
        files.metrics.write_text("\n".join(rows) + "\n")
        replaced(files, files.metrics.name)
        points = laboratory(without.config.data.parent).job("dense", "rewind")
        before = {path: path.read_bytes() for path in files.folder.rglob("*") if path.is_file()}
        with pytest.raises(StudyError, match=f"can't be rewound to step {REWIND_STEP}.*data=ANOTHER_FOLDER"):
            run_stage(points)
        assert before == {path: path.read_bytes() for path in files.folder.rglob("*") if path.is_file()}
        assert not is_done(points)

    def test_one_that_is_told_to_stop_leaves_the_dense_run_as_it_was(self, tmp_path: Path) -> None:
        made = laboratory(tmp_path, f"arms:\n{MAGNITUDE}", "training.env_steps=500")
        made.run(lambda job: job.seed == 0 and job.stage == "dense")
        late = f"arms:\n{MAGNITUDE.replace('}', ', rewind: {step: 350}}')}"
        points = laboratory(tmp_path, late, "training.env_steps=500").job("dense", "rewind")
        manifest = points.files.manifest.read_bytes()
        with pytest.raises(StoppedError):  # where its first episode ends, after 200 steps
            run_stage(points, lambda: True)
        assert points.files.manifest.read_bytes() == manifest
        assert is_done(made.job("dense"))
        assert not is_done(points)

    def test_a_run_cut_short_after_the_step_makes_it_where_it_goes_on(self, lab: Laboratory, tmp_path: Path) -> None:
        cut = laboratory(tmp_path, f"arms:\n{MAGNITUDE}")
        with pytest.raises(StoppedError):  # an episode has 200 steps: the point lies behind
            run_stage(cut.job("dense"), lambda: True)
        asking = laboratory(tmp_path)
        run_stage(asking.job("dense"))
        run_stage(asking.job("dense", "rewind"))
        for path in dense_files(lab).folder.glob("*.safetensors"):
            assert (dense_files(asking).folder / path.name).read_bytes() == path.read_bytes()

    def test_one_damaged_while_its_run_was_cut_short_is_mended(self, lab: Laboratory, tmp_path: Path) -> None:
        cut = laboratory(tmp_path)
        with pytest.raises(StoppedError):
            run_stage(cut.job("dense"), lambda: True)
        content = bytearray(point(cut).read_bytes())
        content[-5] ^= 1
        point(cut).write_bytes(content)
        run_stage(cut.job("dense"))
        run_stage(cut.job("dense", "rewind"))
        assert point(cut).read_bytes() == point(lab).read_bytes()


def dense_files(of: Laboratory) -> RunFiles:
    return of.job("dense").files


def point(of: Laboratory) -> Path:
    return dense_files(of).rewind_point(REWIND_STEP)


def replaced(files: RunFiles, *names: str) -> None:
    """Let a manifest know these files as they are now."""
    manifest = read_manifest(files)
    assert manifest is not None
    change_manifest(files, files={**manifest["files"], **{name: file_entry(files.folder / name) for name in names}})


class TestBeforeTraining:
    def test_reads_the_warm_up_alone(self, lab: Laboratory) -> None:
        observations = np.load(dense_files(lab).folder / REPLAY_FILES[0])
        for arm in ("snip", "grasp"):
            (stored,) = lab.read[0, arm]
            np.testing.assert_array_equal(stored.observations, observations[:WARMUP])
        assert all(len(stored.rewards) == ENV_STEPS for arm in ("erk", "units", "given") for stored in lab.read[0, arm])
        none = ("magnitude", "synflow", "magnitude-init", "drawn", "imp", "fine-tuned")
        assert all(stored is None for arm in none for stored in lab.read[0, arm])
        assert len(lab.read[0, "synflow"]) == 100

    @pytest.fixture
    def spoilt(self, lab: Laboratory, tmp_path: Path) -> Laboratory:
        """A copy without masks, whose trained agent and whose data after the warm-up are others."""
        folder = tmp_path / "spoilt"
        shutil.copytree(lab.config.data.parent, folder)
        copy = laboratory(folder)
        files = dense_files(copy)
        agent = read_arrays(files.agent)
        write_arrays(files.agent, {n: np.full_like(a, 7) if a.dtype == np.float32 else a for n, a in agent.items()})
        replay = [name for name in REPLAY_FILES if (files.folder / name).exists()]
        for name in replay:
            data = np.load(files.folder / name)
            data[WARMUP:] = 9
            np.save(files.folder / name, data)
        replaced(files, files.agent.name, *replay)
        for arm in (*BEFORE_TRAINING, "given"):
            shutil.rmtree(copy.job(arm).files.folder)
        return copy

    def test_depends_on_nothing_that_was_trained(self, lab: Laboratory, spoilt: Laboratory) -> None:
        spoilt.run(lambda job: job.seed == 0 and job.stage == "mask" and job.arm_name in BEFORE_TRAINING)
        for arm in BEFORE_TRAINING:
            assert equal(spoilt.mask(arm), lab.mask(arm)), arm
        masks = [lab.mask(arm) for arm in BEFORE_TRAINING]
        assert not any(equal(one, other) for i, one in enumerate(masks) for other in masks[:i])
        spoilt.run(lambda job: job.seed == 0 and job.stage == "mask" and job.arm_name == "given")
        assert not equal(spoilt.mask("given"), lab.mask("given"))  # which is trained, and sees it


class TestPlan:
    """What is left to do of a study that something happened to; nothing that happens may keep it from being planned."""

    @pytest.fixture
    def copy(self, lab: Laboratory, tmp_path: Path) -> Laboratory:
        shutil.copytree(lab.config.data.parent, tmp_path / "copy")
        return laboratory(tmp_path / "copy")

    def to_do(self, of: Laboratory, names: tuple[str, ...] | None = None) -> set[tuple[str, str]]:
        """(arm, stage) of seed 0 that are not done."""
        planned = plan_study(of.config, None, STAGES, names)
        return {(t.job.arm_name, t.job.stage) for t in planned if t.state is JobState.WAITING and t.job.seed == 0}

    def test_nothing_at_the_end(self, lab: Laboratory) -> None:
        assert self.to_do(lab) == set()

    @pytest.mark.parametrize("how", ["removed", "cut short"])
    @pytest.mark.parametrize(
        ("arm", "name", "expected"),
        [
            ("dense", "agent.safetensors", {("dense", "dense"), ("imp", "mask"), ("magnitude", "ticket")}),
            ("dense", "manifest.json", {("dense", "dense"), ("imp", "mask"), ("random-imp", "ticket")}),
            ("imp.round-1", "agent.safetensors", {("imp.round-1", "ticket"), ("imp", "mask"), ("random-imp", "mask")}),
            ("imp.round-1", "manifest.json", {("imp.round-1", "ticket"), ("imp", "mask"), ("imp", "ticket")}),
            ("imp.round-1", "mask.pkl", {("imp.round-1", "mask"), ("imp", "mask"), ("random-imp", "mask")}),
            ("magnitude", "mask.pkl", {("magnitude", "mask"), ("random", "mask"), ("small-dense", "ticket")}),
            ("rigl", "mask.pkl", {("rigl", "ticket"), ("random-rigl", "mask"), ("random-rigl", "ticket")}),
            ("rigl", "manifest.json", {("rigl", "ticket"), ("random-rigl", "mask")}),
        ],
    )
    def test_damage_upstream_is_planned_for(
        self, copy: Laboratory, arm: str, name: str, expected: set[tuple[str, str]], how: str
    ) -> None:
        path = copy.job(arm).files.folder / name
        if how == "removed":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:-7])
        left = self.to_do(copy)
        assert expected <= left
        assert arm == "dense" or ("dense", "dense") not in left

    def test_a_round_that_is_gone_is_made_anew_and_nothing_else_changes(self, copy: Laboratory) -> None:
        shutil.rmtree(copy.job("imp.round-1").files.folder)
        before = copy.agent("imp"), copy.agent("random-imp")
        for planned in plan_study(copy.config, None, STAGES, ["imp", "random-imp"]):
            if planned.job.seed == 0 and not is_done(planned.job):
                run_stage(planned.job)
        assert all(equal(old, copy.agent(arm)) for old, arm in zip(before, ("imp", "random-imp"), strict=True))

    def test_an_arm_without_the_rewind_point_is_not_kept_from_its_work(self, copy: Laboratory) -> None:
        later = laboratory(copy.config.data.parent, LATER)
        assert self.to_do(later) == {("dense", "rewind"), ("late", "mask"), ("late", "ticket")}
        assert self.to_do(later, ("magnitude",)) == set()
        # Its mask needs no point to go back to, and may be made before there is one.
        later.run(lambda job: job.seed == 0 and (job.arm_name, job.stage) == ("late", "mask"))
        later.run(lambda job: job.seed == 0 and (job.stage == "rewind" or job.arm_name == "late"))
        assert self.to_do(later) == set()

    @pytest.mark.parametrize(
        ("arm", "old", "new", "said"),
        [
            ("erk", "allocation: erk", "allocation: uniform", "pruning.allocation: the files have 'erk'"),
            ("imp", "sparsity: 0.75", "sparsity: 0.7", "holds a run of another recipe"),
            ("units", "batches: 2, batch_size: 16}", "batches: 3, batch_size: 16}", "pruning.num_gradient_batches"),
            ("rigl", "interval: 20}}, sparsity: 0.8, rescale", "interval: 25}}, sparsity: 0.8, rescale", "interval"),
            ("imp", "rewind: {step: 130}", "rewind: {step: 140}", "holds a run of another study"),
        ],
    )
    def test_another_recipe_under_the_same_name_is_refused_before_anything_starts(
        self, lab: Laboratory, arm: str, old: str, new: str, said: str
    ) -> None:
        lines = [line.replace(old, new) if f"name: {arm}," in line else line for line in ARMS.splitlines()]
        assert lines != ARMS.splitlines()
        config = laboratory(lab.config.data.parent.parent / f"other-{arm}-{len(new)}", "\n".join(lines)).config
        config = config.model_copy(update={"data": lab.config.data})
        with pytest.raises(StudyError, match=re.escape(said)):
            plan_study(config, None, STAGES)


LATER = f"arms:\n{MAGNITUDE}{MAGNITUDE.replace('magnitude,', 'late,', 1).replace('}', ', rewind: {step: 150}}')}"
