from collections.abc import Collection
from typing import Any

import jax
import numpy as np
import pytest

from rlottery.agents import sac
from rlottery.agents.base import kernels
from rlottery.agents.sac import SAC
from rlottery.pruning.criteria import CRITERIA, STATISTICS, score, statistics_for
from rlottery.pruning.synaptic_flow import synaptic_flow
from rlottery.storage.transitions import Transitions
from rlottery.training.saliency import Statistics, as_initial, gather_statistics
from tests.agents.small import (
    SETTINGS,
    SPEC,
    advanced,
    doubled,
    fresh,
    numpy_actor_losses,
    numpy_critic_losses,
    numpy_slopes,
)
from tests.pruning.networks import network
from tests.toy import TOY, ToySettings, initial, with_critic_kernel

BATCHES, BATCH_SIZE = 3, 16
GROUPS = ("actor", "critic")


def stored(rows: int = 100, rewards: np.ndarray | None = None) -> Transitions:
    rng = np.random.default_rng(0)
    rows = rows if rewards is None else len(rewards)
    return Transitions(
        observations=rng.normal(size=(rows, SPEC.observation_size)).astype(np.float32),
        actions=rng.uniform(-1, 1, (rows, SPEC.action_size)).astype(np.float32),
        rewards=rng.normal(size=rows).astype(np.float32) if rewards is None else rewards,
        next_observations=rng.normal(size=(rows, SPEC.observation_size)).astype(np.float32),
        terminations=(rng.random(rows) < 0.2).astype(np.float32),
    )


def gathered_from(state: Any, names: Collection[str], batch_size: int = BATCH_SIZE) -> Statistics:
    return gather_statistics(
        SAC,
        SETTINGS,
        state,
        names,
        stored=stored(),
        key=jax.random.key(6),
        generator=np.random.default_rng(5),
        uniform=np.random.default_rng(7),
        batches=BATCHES,
        batch_size=batch_size,
    )


def toy(name: str, rewards: list[float], batches: int, batch_size: int = 1, seed: int = 0) -> dict[str, Any]:
    found = gather_statistics(
        TOY,
        ToySettings(),
        with_critic_kernel(initial()),
        [name],
        stored=stored(rewards=np.array(rewards, np.float32)),
        key=jax.random.key(seed),
        generator=np.random.default_rng(seed),
        batches=batches,
        batch_size=batch_size,
    )
    return {group: statistics[name] for group, statistics in found.items()}


class ByHand:
    """The losses of every batch, in NumPy at double precision, and their central differences."""

    def __init__(self, state: sac.SACState):
        self.exact = doubled(state._replace(key=0, masks={}))
        self.layers = {group: kernels(self.exact.params[group]) for group in GROUPS}
        self.batches: list[tuple[Transitions, dict[str, np.ndarray]]] = []
        generator = np.random.default_rng(5)
        for index in range(BATCHES):
            rows = generator.integers(100, size=BATCH_SIZE)
            keys = jax.random.split(jax.random.fold_in(jax.random.key(6), index))
            noise = [np.asarray(jax.random.normal(key, (BATCH_SIZE, SPEC.action_size)), np.float64) for key in keys]
            batch = Transitions(*(field[rows] for field in stored().fields.values()))
            self.batches.append((doubled(batch), dict(zip(("critic", "actor"), noise, strict=True))))

    def losses(self, group: str) -> np.ndarray:
        """(batches, transitions)."""
        of = {"actor": numpy_actor_losses, "critic": numpy_critic_losses}[group]
        # Of `exact`, each group's loss reads the other group alone: its own weights can be moved in place.
        weights = self.exact.params[group]
        return np.stack([of(weights, self.exact, batch, noise[group]) for batch, noise in self.batches])

    def slopes(self, group: str) -> dict[str, np.ndarray]:
        """(batches, transitions, inputs, outputs)."""
        return numpy_slopes(lambda: self.losses(group), self.layers[group])

    def batch_slopes(self, group: str) -> dict[str, np.ndarray]:
        """(batches, inputs, outputs)."""
        return numpy_slopes(lambda: self.losses(group).mean(axis=1), self.layers[group])


@pytest.fixture(scope="module")
def state() -> sac.SACState:
    return advanced(fresh(), 10)


@pytest.fixture(scope="module")
def found(state: sac.SACState) -> Statistics:
    """All saliency statistics in one pass."""
    return gathered_from(state, [name for name in STATISTICS if not name.startswith("initial_")])


@pytest.fixture(scope="module")
def by_hand(state: sac.SACState) -> ByHand:
    return ByHand(state)


@pytest.fixture(scope="module")
def slopes(by_hand: ByHand) -> dict[str, dict[str, np.ndarray]]:
    return {group: by_hand.slopes(group) for group in GROUPS}


def close(found: Any, expected: np.ndarray, rtol: float = 2e-3) -> None:
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * np.abs(expected).max())


def test_every_kernel_has_what_was_asked_for_and_nothing_else(state: sac.SACState, found: Statistics) -> None:
    assert found.keys() == state.params.keys()
    for group, statistics in found.items():
        shapes = {path: kernel.shape for path, kernel in kernels(state.params[group]).items()}
        for name, layers in statistics.items():
            assert all(type(layer) is np.ndarray for layer in layers.values())
            expected = {path: shape[:1] if name == "input_norm" else shape for path, shape in shapes.items()}
            assert {path: layer.shape for path, layer in layers.items()} == expected, name
            double = name in ("synaptic_flow", "random")
            assert {layer.dtype for layer in layers.values()} == {np.dtype(np.float64 if double else np.float32)}
    alone = gather_statistics(SAC, SETTINGS, state, ["weights"])
    assert [list(statistics) for statistics in alone.values()] == [["weights"], ["weights"]]
    kernel = state.params["critic"]["q2"]["layer_1"]["kernel"]
    assert np.array_equal(alone["critic"]["weights"]["q2.layer_1"], kernel)


@pytest.mark.parametrize("group", GROUPS)
def test_gradients_are_the_finite_differences_of_the_losses(group: str, found: Statistics, slopes: Any) -> None:
    for path, each in slopes[group].items():
        of_batches = each.mean(axis=1)
        close(found[group]["mean_abs_gradient"][path], np.abs(of_batches).mean(axis=0))
        close(found[group]["mean_gradient"][path], of_batches.mean(axis=0))
        close(found[group]["mean_squared_gradient"][path], np.square(each).mean(axis=(0, 1)))


@pytest.mark.parametrize("group", GROUPS)
def test_hessian_gradient_is_how_the_gradient_changes_along_itself(
    group: str, found: Statistics, by_hand: ByHand, slopes: Any
) -> None:
    layers, step = by_hand.layers[group], 1e-4
    start = {path: layer.copy() for path, layer in layers.items()}
    change = {path: np.zeros_like(layer) for path, layer in layers.items()}
    for index in range(BATCHES):
        for sign in (1, -1):
            for path, layer in layers.items():
                layer[...] = start[path] + sign * step * slopes[group][path][index].mean(axis=0)
            for path, slope in by_hand.batch_slopes(group).items():
                change[path] += sign * slope[index] / (2 * step * BATCHES)
    for path, layer in layers.items():
        layer[...] = start[path]
        close(found[group]["hessian_gradient"][path], change[path])


def test_inputs_are_measured_by_their_root_mean_square(found: Statistics, by_hand: ByHand) -> None:
    data = stored()
    rows = np.random.default_rng(5).integers(100, size=(BATCHES, BATCH_SIZE)).ravel()
    hidden = np.concatenate([data.observations, data.actions], -1, dtype=np.float64)[rows]
    q2 = by_hand.exact.params["critic"]["q2"]
    for name, layer in q2.items():
        close(found["critic"]["input_norm"][f"q2.{name}"], np.sqrt(np.square(hidden).mean(axis=0)), rtol=1e-5)
        hidden = np.maximum(hidden @ layer["kernel"] + layer["bias"], 0)
    of_observations = np.linalg.norm(data.observations[rows], axis=0) / np.sqrt(len(rows))
    close(found["actor"]["input_norm"]["layer_0"], of_observations, rtol=1e-5)


@pytest.mark.parametrize("group", GROUPS)
def test_scores_follow_from_the_losses(group: str, found: Statistics, by_hand: ByHand, slopes: Any) -> None:
    """Criteria and saliency statistics together. Criteria before training read the same weights as initial ones."""
    statistics = found[group] | as_initial(found)[group]
    for path, each in slopes[group].items():
        weights, of_batches = by_hand.layers[group][path], each.mean(axis=1)
        expected = {
            "taylor": np.abs(weights * of_batches).mean(axis=0),
            "gradient": np.abs(of_batches).mean(axis=0),
            "snip": np.abs(weights * of_batches.mean(axis=0)),
            "fisher": np.square(weights * each).mean(axis=(0, 1)) / 2,
        }
        for name, scores in expected.items():
            close(score(name, statistics)[path], scores)
        close(score("taylor", statistics, estimator="abs-mean")[path], expected["snip"])


@pytest.mark.parametrize("group", GROUPS)
def test_grasp_is_what_a_weight_adds_to_the_squared_gradient(group: str, found: Statistics, by_hand: ByHand) -> None:
    scores = score("grasp", as_initial(found)[group])

    def half_squared_gradient() -> float:
        """Over all kernels, mean over batches."""
        return sum(np.square(slope).sum() for slope in by_hand.batch_slopes(group).values()) / (2 * BATCHES)

    for path, layer in list(by_hand.layers[group].items())[:2]:
        index = np.unravel_index(np.abs(scores[path]).argmax(), layer.shape)
        before, ends = layer[index], []
        for share in (1e-3, -1e-3):
            layer[index] = before * (1 + share)
            ends.append(half_squared_gradient())
        layer[index] = before
        assert scores[path][index] == pytest.approx((ends[0] - ends[1]) / 2e-3, rel=5e-3)


def test_signs_that_change_from_batch_to_batch_cancel_in_the_mean_alone() -> None:
    np.testing.assert_allclose(toy("mean_abs_gradient", [1.0, -1.0], batches=64)["actor"]["layer_0"], 1.0, rtol=1e-5)
    signed = toy("mean_gradient", [1.0, -1.0], batches=64)["actor"]["layer_0"]
    drawn = np.random.default_rng(0)
    expected = np.mean([[1.0, -1.0][int(drawn.integers(2, size=1)[0])] for _ in range(64)])
    np.testing.assert_allclose(signed, expected, atol=1e-6)
    assert abs(expected) < 0.5
    assert "|batch gradient|" in str(CRITERIA["taylor"].estimator())


def test_within_a_batch_the_gradient_is_that_of_the_mean_loss() -> None:
    # Of a large batch of +1 and -1, the mean is near zero: nothing is taken absolute before it.
    found = toy("mean_abs_gradient", [1.0, -1.0], batches=16, batch_size=4_000)
    assert found["actor"]["layer_0"].max() < 0.05


def test_every_batch_has_noise_of_its_own() -> None:
    one, many = (toy("mean_abs_gradient", [0.0], batches=batches)["critic"]["q1.layer_0"] for batches in (1, 200))
    # Each entry is the mean of |N(0, 1)|; with one noise for all batches its spread would not shrink.
    assert one.std() == pytest.approx(np.sqrt(1 - 2 / np.pi), rel=0.1)
    assert many.mean() == pytest.approx(np.sqrt(2 / np.pi), rel=0.02)
    assert many.std() == pytest.approx(np.sqrt((1 - 2 / np.pi) / 200), rel=0.1)


def test_batches_are_drawn_from_all_of_the_replay() -> None:
    found = toy("mean_abs_gradient", [1.0, 2.0, 6.0], batches=900)
    assert found["actor"]["layer_0"].item(0) == pytest.approx(3.0, rel=0.1)


def test_it_follows_from_key_and_generator() -> None:
    one, again, other = (
        toy("mean_abs_gradient", [1.0, 3.0], batches=5, seed=seed)["critic"]["q1.layer_0"] for seed in (1, 1, 2)
    )
    assert one.tobytes() == again.tobytes()
    assert one.tobytes() != other.tobytes()


def test_random_numbers_are_uniform_and_follow_from_their_generator(state: sac.SACState) -> None:
    one, again, other = (
        gather_statistics(SAC, SETTINGS, state, ["random"], uniform=np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    flat, same, others = (
        np.concatenate([layer.ravel() for group in GROUPS for layer in each[group]["random"].values()])
        for each in (one, again, other)
    )
    assert np.array_equal(flat, same)
    assert len(np.unique(np.concatenate([flat, others]))) == 2 * flat.size
    assert 0 <= flat.min() < 0.02
    assert 0.98 < flat.max() < 1


def test_data_and_generators_that_are_missing_are_named(state: sac.SACState) -> None:
    with pytest.raises(ValueError, match="mean_gradient need replay"):
        gather_statistics(SAC, SETTINGS, state, ["weights", "mean_gradient"])
    with pytest.raises(ValueError, match="random needs a generator"):
        gather_statistics(SAC, SETTINGS, state, ["random"])


@pytest.mark.parametrize("name", CRITERIA)
def test_what_a_criterion_needs_can_be_gathered_and_scored(name: str, state: sac.SACState) -> None:
    needed = statistics_for(name)
    trained = gathered_from(state, needed.trained)
    start = as_initial(gathered_from(fresh(), needed.initial))
    for group in GROUPS:
        scores = score(name, trained[group] | start[group])
        weights = kernels(state.params[group])
        assert {path: layer.shape for path, layer in scores.items()} == {p: w.shape for p, w in weights.items()}


def test_synaptic_flow_by_hand() -> None:
    # Through the first hidden unit 2 and |-1| come in, 3 and 0.5 go out; through the second, 0 and 4, and 1 and 0.
    kernels = {
        "layer_0": np.array([[2.0, 0.0], [-1.0, 4.0]], np.float32),
        "layer_1": np.array([[3.0, -0.5], [1.0, 0.0]], np.float32),
    }
    flow = synaptic_flow(kernels)
    assert flow["layer_0"].tolist() == [[3.5, 1.0], [3.5, 1.0]]
    assert flow["layer_1"].tolist() == [[3.0, 3.0], [4.0, 4.0]]
    # Two networks of one group don't touch.
    twins = {f"{q}.{path}": kernel for q in ("q1", "q2") for path, kernel in kernels.items()}
    twins["q2.layer_0"] = 10 * kernels["layer_0"]
    both = synaptic_flow(twins)
    assert both["q1.layer_1"].tolist() == flow["layer_1"].tolist()
    assert both["q2.layer_1"].tolist() == (10 * flow["layer_1"]).tolist()


def test_synaptic_flow_is_conserved_at_each_hidden_unit_and_from_layer_to_layer() -> None:
    twins = network(7, 12, 9, 2, prefix="q1.", seed=1) | network(7, 12, 9, 2, prefix="q2.", seed=2)
    rng = np.random.default_rng(3)
    masked = {path: kernel * (rng.random(kernel.shape) < 0.4) for path, kernel in twins.items()}
    statistics = {"initial_weights": masked, "initial_synaptic_flow": synaptic_flow(masked)}
    scores = score("synflow", statistics)
    for q in ("q1", "q2"):
        for into, out_of in (("layer_0", "layer_1"), ("layer_1", "layer_2")):
            np.testing.assert_allclose(scores[f"{q}.{into}"].sum(axis=0), scores[f"{q}.{out_of}"].sum(axis=1))
            assert scores[f"{q}.{into}"].sum() == pytest.approx(scores[f"{q}.{out_of}"].sum())
    assert all((layer[masked[path] == 0] == 0).all() for path, layer in scores.items())
    assert scores["q1.layer_0"].sum() != pytest.approx(scores["q2.layer_0"].sum(), rel=1e-3)


def test_synaptic_flow_of_deep_wide_networks_stays_finite_and_ranked() -> None:
    # 1^T |W| ... |W| 1 of eight layers is 256^9 x 1000^8, about 5e45, more than single precision holds.
    deep = {f"layer_{index}": np.full((256, 256), 1000.0, np.float32) for index in range(8)}
    statistics = {"initial_weights": deep, "initial_synaptic_flow": synaptic_flow(deep)}
    np.testing.assert_allclose(score("synflow", statistics)["layer_3"], 256.0**7 * 1000.0**8)
