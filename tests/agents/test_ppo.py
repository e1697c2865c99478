"""PPO against the same mathematics written once more in NumPy, at double precision and with gradients by hand."""

from functools import cache, partial
from typing import Any

import jax
import numpy as np
import pytest
from scipy import stats

from rlottery.agents import ppo
from rlottery.agents.algorithms import PPOSetup
from rlottery.agents.base import kernels, to_arrays
from rlottery.agents.description import Spec
from rlottery.agents.ppo import PPO, Samples
from rlottery.config import NetworkSettings, PPOSettings
from rlottery.storage.transitions import Transitions, one_hot
from rlottery.training.saliency import gather_statistics
from tests.agents.by_hand import close
from tests.agents.numpy_networks import backward
from tests.agents.small import doubled, numpy_mlp, random_masks

ENVIRONMENTS, STEPS = 3, 8
SAMPLES = 16
CONTINUOUS = PPOSetup(
    PPOSettings(
        discount=0.9,
        gae_lambda=0.8,
        learning_rate=3e-3,
        clip=0.1,
        rollout_steps=ENVIRONMENTS * STEPS,
        batch_size=SAMPLES,
        entropy_weight=0.05,
        value_weight=0.7,
        max_gradient_norm=0.2,
        initial_log_std=-0.3,
    ),
    NetworkSettings(actor=(12,), critic=(14, 8)),
    ENVIRONMENTS,
)
SETTINGS = {True: CONTINUOUS._replace(discrete=True), False: CONTINUOUS}
NORMALIZED = CONTINUOUS._replace(
    hyperparameters=CONTINUOUS.hyperparameters.model_copy(
        update={"normalize_observations": True, "normalize_rewards": True}
    )
)
KINDS = pytest.mark.parametrize("discrete", [False, True], ids=["continuous", "discrete"])


def spec(discrete: bool) -> Spec:
    return Spec(3, 4 if discrete else 2, discrete)


@cache
def compiled(name: str, settings: PPOSetup) -> Any:
    return jax.jit(partial(getattr(ppo, name), settings=settings))


def fresh(settings: PPOSetup, seed: int = 0) -> ppo.PPOState:
    """A fresh agent whose policy depends on what it sees: the usual one hardly does."""
    params = ppo.init_params(jax.random.key(seed), spec(settings.discrete), settings)
    output = params["actor"]["layer_1"]
    output["kernel"] *= 60.0
    output["bias"] += 0.3
    return ppo.init(params, jax.random.key(1), settings)


def random_rollout(discrete: bool, seed: int = 0) -> Transitions:
    """Transitions of several environments in turn, some at the end of an episode, for either reason."""
    rng, number = np.random.default_rng(seed), ENVIRONMENTS * STEPS
    ends = rng.random(number) < 0.4
    fields = {name: rng.normal(1.0, 2.0, (number, 3)).astype(np.float32) for name in ("before", "after")}
    actions = rng.normal(size=(number, 2)).astype(np.float32)
    return Transitions(
        observations=fields["before"],
        actions=one_hot(rng.integers(4, size=number), 4) if discrete else actions,
        rewards=rng.normal(0.5, 3.0, number).astype(np.float32),
        next_observations=fields["after"],
        terminations=(ends & (rng.random(number) < 0.5)).astype(np.float32),
        ends=ends.astype(np.float32),
    )


def random_samples(discrete: bool, seed: int) -> Samples:
    """Samples of another policy, so that some ratios are outside the clip on either side."""
    rng = np.random.default_rng(seed)
    rollout = random_rollout(discrete, seed)
    chosen = rng.permutation(len(rollout.rewards))[:SAMPLES]
    log_probs = rng.normal(-1.4 if discrete else -2.6, 0.5, SAMPLES)
    others = [column.astype(np.float32) for column in (log_probs, *rng.normal(size=(2, SAMPLES)))]
    return Samples(rollout.observations[chosen], rollout.actions[chosen], *others)


class Reference:
    """One agent in NumPy, which is trained on samples as eqs. 7 and 9 of the paper say."""

    def __init__(self, state: ppo.PPOState, settings: PPOSetup):
        self.settings, self.ppo = settings, settings.hyperparameters
        self.learned: dict[str, Any] = doubled(state.params)
        if state.log_std is not None:
            self.learned["log_std"] = np.asarray(state.log_std, np.float64)
        self.masks = jax.tree.map(np.asarray, state.masks)
        self.moments = {name: [jax.tree.map(np.zeros_like, of)] * 2 for name, of in self.learned.items()}
        self.steps = 0

    def policy(self, samples: Samples) -> tuple[np.ndarray, Any, dict[str, np.ndarray], float]:
        """Log-probabilities; how they and the entropy depend on the outputs and on log_std; the entropy."""
        outputs = numpy_mlp(self.learned["actor"], samples.observations)
        if self.settings.discrete:
            weights = np.exp(outputs - outputs.max(-1, keepdims=True))
            chances = weights / weights.sum(-1, keepdims=True)
            entropies = -(chances * np.log(chances)).sum(-1)
            by_output = -chances * (np.log(chances) + entropies[:, None]) / SAMPLES
            log_probs = np.log((chances * samples.actions).sum(-1))
            return log_probs, samples.actions - chances, {"outputs": by_output}, entropies.mean()
        std = np.exp(self.learned["log_std"])
        log_probs = stats.norm.logpdf(samples.actions, outputs, std).sum(-1)
        apart = samples.actions - outputs
        entropy = sum(stats.norm(scale=one).entropy() for one in std)
        slopes = {"outputs": np.zeros_like(outputs), "log_std": np.ones_like(std)}
        self.by_log_std = apart**2 / std**2 - 1
        return log_probs, apart / std**2, slopes, float(entropy)

    def gradients(self, samples: Samples) -> tuple[dict[str, Any], dict[str, float]]:
        samples = doubled(samples)
        log_probs, by_output, of_entropy, entropy = self.policy(samples)
        ratio = np.exp(log_probs - samples.log_probs)
        mean = samples.advantages.sum() / SAMPLES
        spread = np.sqrt(((samples.advantages - mean) ** 2).sum() / (SAMPLES - 1))
        advantages = (samples.advantages - mean) / (spread + 1e-8)
        # The objective is flat where the ratio has left the clip in the direction that the advantage pushes it.
        high, low = 1 + self.ppo.clip, 1 - self.ppo.clip
        flat = ((advantages > 0) & (ratio > high)) | ((advantages < 0) & (ratio < low))
        self.flat = flat
        objective = np.where(flat, np.where(advantages > 0, high, low), ratio) * advantages
        weight = self.ppo.entropy_weight
        by_log_prob = np.where(flat, 0, -advantages * ratio) / SAMPLES
        by_output = by_log_prob[:, None] * by_output - weight * of_entropy["outputs"]
        values = numpy_mlp(self.learned["critic"], samples.observations)[:, 0]
        by_value = self.ppo.value_weight * 2 * (values - samples.returns) / SAMPLES
        self.slopes = {"actor": by_output, "critic": by_value[:, None] / self.ppo.value_weight}
        found: dict[str, Any] = {
            "actor": backward(self.learned["actor"], samples.observations, by_output)[0],
            "critic": backward(self.learned["critic"], samples.observations, by_value[:, None])[0],
        }
        if not self.settings.discrete:
            found["log_std"] = (by_log_prob[:, None] * self.by_log_std).sum(0) - weight * of_entropy["log_std"]
        return found, {
            "actor_loss": -objective.mean() - weight * entropy,
            "critic_loss": ((values - samples.returns) ** 2).mean(),
            "entropy": entropy,
            "kl_divergence": (ratio - 1 - (log_probs - samples.log_probs)).mean(),
            "clip_fraction": (np.abs(ratio - 1) > self.ppo.clip).mean(),
        }

    def update(self, samples: Samples) -> dict[str, float]:
        """Train on samples. Returns the metrics before."""
        gradients, metrics = self.gradients(samples)
        assert self.flat.any() and not self.flat.all()
        for group, masks in self.masks.items():
            for path, mask in kernels(masks).items():
                kernels(gradients[group])[path][~mask] = 0
        norm = np.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(gradients)))
        assert norm > self.ppo.max_gradient_norm
        self.steps += 1
        for name, gradient in gradients.items():
            limited = jax.tree.map(lambda slope: slope * self.ppo.max_gradient_norm / norm, gradient)
            self.adam(name, limited)
        return metrics | {"gradient_norm": norm}

    def adam(self, name: str, gradient: Any) -> None:
        first, second = self.moments[name]
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, second, gradient)
        self.moments[name] = [first, second]
        share, of_squares = 1 - 0.9**self.steps, 1 - 0.999**self.steps
        self.learned[name] = jax.tree.map(
            lambda w, m, v: w - 3e-3 * (m / share) / (np.sqrt(v / of_squares) + 1e-5), self.learned[name], first, second
        )


def same(one: Any, other: Any) -> bool:
    one, other = to_arrays(one), to_arrays(other)
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@KINDS
@pytest.mark.parametrize("density", [None, 0.4], ids=["dense", "masked"])
def test_updates_are_those_of_the_paper(discrete: bool, density: float | None) -> None:
    """Several updates: the clipped surrogate, values and entropy; one limited norm for everything; pruned weights."""
    settings = SETTINGS[discrete]
    state = fresh(settings, 1)
    if density is not None:
        state = PPO.with_masks(state, random_masks(state.params, 2, density))
    expected, start = Reference(state, settings), state
    for number in range(4):
        samples = random_samples(discrete, number)
        state, metrics = compiled("update", settings)(state, samples)
        for name, value in expected.update(samples).items():
            assert metrics[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name
        assert close(state.params, {group: expected.learned[group] for group in state.params})
        assert discrete or close(state.log_std, expected.learned["log_std"])
        for name, moments in expected.moments.items():
            adam = state.optimizer[name][0]
            assert close((adam.mu, adam.nu), tuple(moments))
    assert all(not close(state.params[group], start.params[group]) for group in state.params)
    assert density is None or PPO.masks_hold(state)


def by_hand(rewards: Any, values: Any, after: Any, terminated: Any, ended: Any, discount: float, decay: float) -> Any:
    """Advantages (steps, environments): of each step, the sum of discounted errors until its episode ends."""
    steps, environments = rewards.shape
    found = np.zeros((steps, environments))
    for environment in range(environments):
        for start in range(steps):
            weight = 1.0
            for step in range(start, steps):
                at = step, environment
                goal = rewards[at] if terminated[at] else rewards[at] + discount * after[at]
                found[start, environment] += weight * (goal - values[at])
                if ended[at]:
                    break
                weight *= discount * decay
    return found


@KINDS
def test_a_rollout_is_prepared_with_the_policy_and_the_critic_that_it_was_collected_with(discrete: bool) -> None:
    """Advantages end where episodes do. Truncated ones, and the rollout's end, are bootstrapped; terminated not."""
    settings, rollout = SETTINGS[discrete], random_rollout(discrete, 3)
    state = fresh(settings, 2)
    rows = jax.jit(ppo.prepare, static_argnums=2)(state, rollout, settings, state)
    found = PPO.batch(np.asarray(rows), spec(discrete))
    exact = doubled(rollout)
    values, after = (
        numpy_mlp(doubled(state.params["critic"]), seen)[:, 0] for seen in (exact.observations, exact.next_observations)
    )
    assert (rollout.ends > rollout.terminations).any() and rollout.terminations.any() and (rollout.ends == 0).any()
    parts = [
        part.reshape(STEPS, ENVIRONMENTS) for part in (exact.rewards, values, after, rollout.terminations, rollout.ends)
    ]
    advantages = by_hand(*parts, discount=0.9, decay=0.8).reshape(-1)
    np.testing.assert_allclose(found.advantages, advantages, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.returns, advantages + values, rtol=1e-4, atol=1e-5)
    samples = Samples(exact.observations, exact.actions, *[np.zeros(len(values))] * 3)
    log_probs = Reference(state, settings).policy(samples)[0]
    np.testing.assert_allclose(found.log_probs, log_probs, rtol=1e-4, atol=1e-5)
    assert np.array_equal(found.observations, rollout.observations) and np.array_equal(found.actions, rollout.actions)


def test_normalisation_follows_what_was_seen_and_is_fixed_within_a_rollout() -> None:
    """Rewards are divided by the spread of discounted returns, observations are standardised; both are clipped."""
    state, all_seen, so_far, totals = fresh(NORMALIZED), [], np.zeros(ENVIRONMENTS), []
    for seed in range(3):
        rollout = random_rollout(False, seed)
        before, state = state, compiled("observe", NORMALIZED)(state, rollout)
        all_seen.append(rollout.observations)
        for rewards, ends in zip(*(part.reshape(STEPS, -1) for part in (rollout.rewards, rollout.ends)), strict=True):
            so_far = 0.9 * so_far + rewards
            totals += so_far.tolist()
            so_far = np.where(ends == 1, 0, so_far)
    seen = np.concatenate(all_seen)
    np.testing.assert_allclose(state.observations["mean"], seen.mean(0), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(state.observations["variance"], seen.var(0), rtol=1e-3)
    np.testing.assert_allclose(state.returns["variance"], np.var(totals), rtol=1e-3)
    np.testing.assert_allclose(state.returns["so_far"], so_far, rtol=1e-5)

    rollout = random_rollout(False, 2)
    rollout.observations[0] = 1e6
    rows = jax.jit(ppo.prepare, static_argnums=2)(state, rollout, NORMALIZED, before)
    found = PPO.batch(np.asarray(rows), spec(False))
    scaled = (rollout.observations - seen.mean(0)) / seen.std(0)
    np.testing.assert_allclose(found.observations, scaled.clip(-10, 10), rtol=1e-3, atol=1e-3)
    # The policy that chose the actions saw observations with the statistics of before.
    mean, variance = (np.asarray(before.observations[name], np.float64) for name in ("mean", "variance"))
    actor_saw = ((rollout.observations - mean) / np.sqrt(variance)).clip(-10, 10)
    means = numpy_mlp(doubled(state.params["actor"]), actor_saw)
    expected = stats.norm.logpdf(rollout.actions, means, np.exp(-0.3)).sum(-1)
    np.testing.assert_allclose(found.log_probs, expected, rtol=1e-3, atol=1e-3)
    values = numpy_mlp(doubled(state.params["critic"]), doubled(found.observations))[:, 0]
    last = rollout.rewards[-1] / np.std(totals)
    assert rollout.ends[-1] == 0 or rollout.terminations[-1] == 1  # of what follows, one value is enough
    after = ((rollout.next_observations[-1:] - seen.mean(0)) / seen.std(0)).clip(-10, 10)
    following = (1 - rollout.terminations[-1]) * 0.9 * numpy_mlp(doubled(state.params["critic"]), after)[0, 0]
    assert found.advantages[-1] == pytest.approx(last + following - values[-1], rel=1e-3)


def test_rewinding_gives_back_deviations_and_statistics_and_nothing_else() -> None:
    saved = compiled("observe", NORMALIZED)(fresh(NORMALIZED, 3), random_rollout(False))
    saved, _ = compiled("update", NORMALIZED)(saved, random_samples(False, 1))
    masked = PPO.with_masks(saved, random_masks(saved.params, 3))
    found, start = ppo.rewind(masked, jax.random.key(9), NORMALIZED), fresh(NORMALIZED, 3)
    assert same(found.params, masked.params) and found.masks == {}
    assert same(found.log_std, saved.log_std) and not same(found.log_std, start.log_std)
    assert same(found.observations, saved.observations) and not same(found.observations, start.observations)
    assert same(found.returns["variance"], saved.returns["variance"])
    assert saved.returns["so_far"].any() and not found.returns["so_far"].any()
    assert same(found.optimizer, start.optimizer) and not same(saved.optimizer, start.optimizer)


@KINDS
def test_data_is_collected_from_the_policy_and_evaluated_at_its_most_likely_action(discrete: bool) -> None:
    settings, state = SETTINGS[discrete], fresh(SETTINGS[discrete], 4)
    arrays = {name: np.asarray(array) for name, array in ppo.acting_arrays(state).items()}
    raw = np.array([0.4, -1.5, 0.1, 0.9][: spec(discrete).action_size], np.float32)
    outputs = ppo.complete(raw, arrays)
    noise = np.random.default_rng(0).normal(size=(20_000, len(raw))).astype(np.float32)
    actions = ppo.explore(np.broadcast_to(outputs, (20_000, len(outputs))), noise, 1, settings)
    best = PPO.deterministic(outputs, spec(discrete))
    if discrete:
        chances = np.exp(raw) / np.exp(raw).sum()
        assert set(actions.sum(-1)) == {1.0} and set(actions.ravel()) == {0.0, 1.0}
        np.testing.assert_allclose(actions.mean(0), chances, atol=4 * 0.5 / np.sqrt(20_000))
        assert best.tolist() == [0, 0, 0, 1]
        assert np.isnan(ppo.explore(np.full(4, np.nan, np.float32), noise[0], 1, settings)).all()
    else:
        np.testing.assert_allclose(actions, raw + np.exp(-0.3) * noise, atol=1e-6)
        assert (np.abs(actions) > 1).any()  # the environment limits them
        np.testing.assert_allclose(best, [0.4, -1.0])


@KINDS
def test_criteria_read_the_losses_of_updates_on_rollouts_prepared_with_the_agent(discrete: bool) -> None:
    """Gradients of batches and of single transitions, by hand, and what each kernel reads, which is normalised."""
    settings = NORMALIZED._replace(discrete=discrete)
    state = compiled("observe", settings)(fresh(settings, 5), random_rollout(discrete, 1))
    rollout, batches = random_rollout(discrete, 2), 2
    names = ["mean_gradient", "mean_squared_gradient", "input_norm"]
    found = gather_statistics(
        PPO,
        settings,
        state,
        names,
        stored=rollout,
        key=jax.random.key(0),
        generator=np.random.default_rng(3),
        batches=batches,
        batch_size=SAMPLES,
    )
    prepared = PPO.batch(np.asarray(ppo.prepare(state, rollout, settings, state)), spec(discrete))
    generator, reference = np.random.default_rng(3), Reference(state, settings)
    expected: dict[str, Any] = {"actor": [], "critic": []}
    squares, seen = {"actor": [], "critic": []}, []
    for _ in range(batches):
        rows = generator.integers(len(rollout.rewards), size=SAMPLES)
        samples = Samples(*(field[rows] for field in prepared))
        seen.append(samples.observations)
        reference.gradients(samples)
        assert not reference.flat.any()  # it is the agent's own policy
        for group, by_output in reference.slopes.items():
            exact = doubled(state.params[group]), doubled(samples.observations)
            expected[group].append(kernels(backward(*exact, by_output)[0]))
            for one in range(SAMPLES):
                of_one = backward(exact[0], exact[1][one : one + 1], SAMPLES * by_output[one : one + 1])[0]
                squares[group].append({path: kernel**2 for path, kernel in kernels(of_one).items()})
    assert np.abs(np.concatenate(seen)).max() < np.abs(rollout.observations).max()
    for group, statistics in found.items():
        for name, by_hand_ in (("mean_gradient", expected[group]), ("mean_squared_gradient", squares[group])):
            for path, array in statistics[name].items():
                mean = np.mean([of[path] for of in by_hand_], axis=0)
                np.testing.assert_allclose(array, mean, rtol=2e-3, atol=2e-3 * np.abs(mean).max(), err_msg=path)
        size = np.sqrt(np.mean(np.square(np.concatenate(seen)), axis=0))
        np.testing.assert_allclose(statistics["input_norm"]["layer_0"], size, rtol=1e-4)


@KINDS
def test_criteria_read_the_same_at_the_end_of_a_decay_that_leaves_no_clip(discrete: bool) -> None:
    falling = SETTINGS[discrete].hyperparameters.model_copy(update={"linear_decay": True})
    settings = SETTINGS[discrete]._replace(hyperparameters=falling)
    settings = settings._replace(updates=settings.rollouts.updates)
    finished = fresh(settings, 5)._replace(updates=jax.numpy.int32(settings.updates))
    rollout = random_rollout(discrete, 2)

    def gradients(of: PPOSetup) -> dict[str, Any]:
        drawn = {"key": jax.random.key(0), "generator": np.random.default_rng(3), "batches": 2, "batch_size": SAMPLES}
        found = gather_statistics(PPO, of, finished, ["mean_gradient"], stored=rollout, **drawn)
        return {group: statistics["mean_gradient"] for group, statistics in found.items()}

    decayed, constant = gradients(settings), gradients(SETTINGS[discrete])
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), decayed, constant)


def test_fresh_kernels_are_orthogonal_with_the_usual_gains() -> None:
    params = ppo.init_params(jax.random.key(0), spec(False), CONTINUOUS)
    for group, gain in (("actor", 0.01), ("critic", 1.0)):
        layers = doubled(params[group])
        *hidden, (_, output) = layers.items()
        for _, layer in hidden:
            kernel = layer["kernel"] if layer["kernel"].shape[0] < layer["kernel"].shape[1] else layer["kernel"].T
            np.testing.assert_allclose(kernel @ kernel.T, 2 * np.eye(len(kernel)), atol=1e-5)
        np.testing.assert_allclose(
            output["kernel"].T @ output["kernel"], gain**2 * np.eye(output["bias"].size), atol=1e-6
        )
        assert not any(layer["bias"].any() for layer in layers.values())
