import itertools
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rlottery.agents import sac
from rlottery.agents.base import kernels, nest_kernels, to_arrays
from rlottery.agents.sac import SAC
from rlottery.errors import MaskError
from rlottery.pruning.allocation import allocate_erk, allocate_uniform, survivor_count
from rlottery.pruning.masks import GroupMask, by_network, check_connected, check_group_mask, survivors
from rlottery.seeding import Streams
from rlottery.storage.transitions import Transitions
from rlottery.training import dynamic_sparsity as dynamic
from rlottery.training.dynamic_sparsity import DynamicSparsity, drop_and_grow, masks_of, prune_more
from tests.agents.small import SETTINGS, compiled, fresh, random_batch
from tests.pruning.networks import network

GROUPS = ("actor", "critic")
SPARSITY = {"actor": 0.6, "critic": 0.7}
UPDATE = compiled("update")
FRACTIONS = {4: 0.5, 8: 0.5 * (1 + 0.5**0.5) / 2, 12: 0.25, 16: 0.5 * (1 - 0.5**0.5) / 2}
"""Step -> what rewiring drops of each layer by default: 0.5 (1 + cos(pi t / 16)) / 2 at t = 0, 4, 8, 12."""


def dynamic_masks(kind: Any = "rigl", **changes: Any) -> DynamicSparsity:
    fields = {"kind": kind, "interval": 4, "begin": 4, "end": 20, "drop": 0.5, "sparsity": SPARSITY}
    fields |= {"allocation": "global" if kind == "gradual" else "erk", "floor": 1, "algorithm": SAC}
    return DynamicSparsity(
        **(fields | {"settings": SETTINGS, "streams": Streams("tests", "Target-v0", 0, kind)} | changes)
    )


def trained(
    masks: DynamicSparsity, state: sac.SACState, steps: range, seen: Callable[..., None] = lambda *_: None
) -> Any:
    """One gradient update a step, then the masks; `seen` gets each step, and the state before and after the masks."""
    for step in steps:
        batch = random_batch(step)
        before, _ = UPDATE(state, batch)
        state = masks.update(before, step, batch)
        seen(step, before, state)
    return state


def paths(masks: dict[str, GroupMask]) -> list[tuple[str, str]]:
    return [(group, path) for group, layers in masks.items() for path in layers]


def counts(mask: GroupMask) -> dict[str, int]:
    return {path: kept for path, (kept, _) in survivors(mask).items()}


def copied(state: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.copy(), state)


def bits(state: Any) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in to_arrays(state).items()}


def everywhere(state: sac.SACState, group: str, path: str) -> list[np.ndarray]:
    """All that an agent holds for the weights of one kernel: online, the moments, and the target of a critic."""
    adam = state.optimizer[group][0]
    trees = [state.params[group], adam.mu, adam.nu, *([state.target_critic] if group == "critic" else [])]
    return [np.asarray(kernels(tree)[path]) for tree in trees]


# One update of a mask.


@st.composite
def masked_layers(draw: st.DrawFn) -> tuple[dict[str, np.ndarray], GroupMask, dict[str, np.ndarray]]:
    """Weights, a mask and growth scores of one to three layers, with many ties."""
    shapes = draw(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=3))
    weights = st.sampled_from([st.integers(-3, 3).map(float), st.floats(-1, 1, width=32)])
    scores = st.sampled_from([st.integers(0, 3).map(float), st.floats(0, 1, width=32)])

    def layers(dtype: Any, elements: Any) -> dict[str, np.ndarray]:
        return {f"layer_{i}": draw(hnp.arrays(dtype, shape, elements=elements)) for i, shape in enumerate(shapes)}

    mask = layers(np.bool_, None)
    dense = layers(np.float32, draw(weights))
    return {path: dense[path] * mask[path] for path in mask}, mask, layers(np.float32, draw(scores))


@given(layers=masked_layers(), percent=st.integers(0, 100))
def test_rewiring_is_what_sorting_gives(layers: Any, percent: int) -> None:
    weights, mask, scores = layers
    kept, grown = drop_and_grow(weights, mask, percent / 100, scores)
    assert kept.keys() == grown.keys() == mask.keys()
    for path, before in mask.items():
        alive, size = np.flatnonzero(before).tolist(), before.size
        k = min(percent * len(alive) // 100, size - len(alive))
        w, g = np.abs(weights[path]).ravel(), scores[path].ravel()
        stay = sorted(sorted(alive, key=lambda i: (-w[i], i))[: len(alive) - k])
        free = [i for i in range(size) if i not in stay]
        new = sorted(sorted(free, key=lambda i: (-g[i], i))[:k])
        assert np.flatnonzero(kept[path]).tolist() == stay
        assert np.flatnonzero(grown[path]).tolist() == new
        assert not (kept[path] & grown[path]).any()
        assert np.count_nonzero(kept[path] | grown[path]) == len(alive)


def test_rewiring_by_hand() -> None:
    weights = {"layer_0": np.array([[0.5, -0.1, 0.0], [0.2, -0.9, 0.0]])}
    mask = {"layer_0": np.array([[True, True, False], [True, True, False]])}
    # The smallest, -0.1 and 0.2, go. The latter has a larger gradient than either empty place: it comes back.
    scores = {"layer_0": np.array([[9.0, 0.1, 0.3], [0.8, 9.0, 0.2]])}
    kept, grown = drop_and_grow(weights, mask, 0.5, scores)
    assert kept["layer_0"].tolist() == [[True, False, False], [False, True, False]]
    assert grown["layer_0"].tolist() == [[False, False, True], [True, False, False]]


def test_a_dense_layer_is_left_alone() -> None:
    mask = {"layer_0": np.ones((3, 2), np.bool_)}
    kept, grown = drop_and_grow({"layer_0": np.ones((3, 2))}, mask, 0.5, {"layer_0": np.ones((3, 2))})
    assert kept["layer_0"].all()
    assert not grown["layer_0"].any()


def test_weights_and_gradients_that_are_not_numbers_have_no_rank() -> None:
    mask = {"layer_0": np.array([[True, False]])}
    sound, spoilt = {"layer_0": np.ones((1, 2))}, {"layer_0": np.full((1, 2), np.nan)}
    for weights, scores in [(spoilt, sound), (sound, spoilt)]:
        with pytest.raises(MaskError, match="NaN"):
            drop_and_grow(weights, mask, 1.0, scores)


@pytest.mark.parametrize("allocation", ["global", "uniform", "erk"])
@given(rising=st.lists(st.floats(0, 0.95), min_size=1, max_size=4).map(sorted), seed=st.integers(0, 100))
@settings(max_examples=30)
def test_pruning_more_only_shrinks_to_the_exact_count(allocation: str, rising: list[float], seed: int) -> None:
    weights = network(4, 8, 6, 2, seed=seed)
    mask = {path: np.ones(w.shape, np.bool_) for path, w in weights.items()}
    total = sum(w.size for w in weights.values())
    for sparsity in rising:
        weights = {path: w * mask[path] for path, w in weights.items()}
        pruned = prune_more(weights, mask, sparsity, allocation)
        assert sum(counts(pruned).values()) == survivor_count(total, sparsity)
        for path, layer in pruned.items():
            assert not (layer & ~mask[path]).any()
            lost = mask[path] & ~layer
            if lost.any():
                assert np.abs(weights[path])[lost].max() <= np.abs(weights[path])[layer].min()
        mask = pruned


def test_pruning_more_globally_by_hand() -> None:
    weights = {"layer_0": np.array([[0.9, 0.0, -0.3]]), "layer_1": np.array([[0.4], [-0.8], [0.2]])}
    mask = {"layer_0": np.array([[True, False, True]]), "layer_1": np.array([[True], [True], [True]])}
    pruned = prune_more(weights, mask, 0.5)
    assert pruned["layer_0"].tolist() == [[True, False, False]]
    assert pruned["layer_1"].tolist() == [[True], [True], [False]]


@pytest.mark.parametrize("allocation", ["uniform", "erk"])
def test_a_layer_that_has_lost_more_than_its_share_leaves_the_rest_to_others(allocation: str) -> None:
    weights = {"layer_0": np.arange(6.0).reshape(2, 3), "layer_1": np.arange(6.0).reshape(3, 2)}
    mask = {"layer_0": np.array([[True, False, False]] * 2), "layer_1": np.ones((3, 2), np.bool_)}
    # Half of twelve are six, three a layer: the first has but two.
    pruned = prune_more(weights, mask, 0.5, allocation)
    assert np.array_equal(pruned["layer_0"], mask["layer_0"])
    assert pruned["layer_1"].tolist() == [[False, False], [True, True], [True, True]]


def test_what_is_pruned_never_comes_back() -> None:
    mask = {"layer_0": np.array([[True, False]])}
    with pytest.raises(MaskError):
        prune_more({"layer_0": np.ones((1, 2))}, mask, 0.0)


# How training starts.


@pytest.mark.parametrize("kind", ["set", "rigl"])
@pytest.mark.parametrize(("allocation", "allocate"), [("erk", allocate_erk), ("uniform", allocate_uniform)])
def test_rewired_training_starts_from_a_random_network(kind: str, allocation: str, allocate: Any) -> None:
    state = dynamic_masks(kind, allocation=allocation).start(fresh())
    masks = masks_of(state)
    assert SAC.masks_hold(state)
    for group in GROUPS:
        check_group_mask(masks[group], group)
        check_connected(masks[group])
        shapes = {path: kernel.shape for path, kernel in kernels(state.params[group]).items()}
        assert counts(masks[group]) == allocate(shapes, SPARSITY[group])
    other = masks_of(dynamic_masks(kind, allocation=allocation, streams=Streams("t", "t", 1, kind)).start(fresh()))
    assert any(not np.array_equal(masks["actor"][path], layer) for path, layer in other["actor"].items())


def test_a_random_start_spreads_evenly() -> None:
    starts = [
        masks_of(
            dynamic_masks("set", sparsity={"actor": 0.5, "critic": 0.5}, streams=Streams("t", "t", seed, "")).start(
                fresh()
            )
        )
        for seed in range(1, 200)
    ]
    layers = [start["actor"]["layer_0"] for start in starts]
    share, expected = np.mean(layers, 0), np.mean(layers[0])
    assert np.abs(share - expected).max() < 5 * np.sqrt(0.25 / len(layers))


def test_a_random_start_is_drawn_until_it_is_connected() -> None:
    # One weight a layer, 2 -> 2 -> 2: half of all draws are cut.
    draws = [
        dynamic._random_mask({"layer_0": (2, 2), "layer_1": (2, 2)}, 0.75, "uniform", 1, np.random.default_rng(seed))
        for seed in range(20)
    ]
    for mask in draws:
        check_connected(mask)
    assert len({b"".join(layer.tobytes() for layer in mask.values()) for mask in draws}) > 3


def test_a_start_that_is_never_connected_says_so() -> None:
    # A single survivor in two layers.
    masks = dynamic_masks("set", sparsity={"actor": 0.99, "critic": 0.5}, allocation="global", floor=0)
    with pytest.raises(MaskError, match="actor: None of 100 random masks can be used.*lower sparsity"):
        masks.start(fresh())


def test_gradual_training_starts_dense() -> None:
    state = dynamic_masks("gradual").start(fresh())
    assert all(layer.all() for masks in masks_of(state).values() for layer in masks.values())
    assert bits(state.params) == bits(fresh().params)


def test_masks_are_the_states_own_copies_from_input_to_output() -> None:
    deep = {f"layer_{i}": np.asfortranarray(np.ones((2, 2), np.bool_)) for i in range(12)}
    by_name = dict(sorted(deep.items()))
    state = fresh()._replace(
        masks={"actor": nest_kernels(by_name), "critic": nest_kernels({"q1.layer_0": deep["layer_0"]})}
    )
    masks = masks_of(state)
    assert list(masks["actor"]) == list(deep)
    for group, layers in masks.items():
        check_group_mask(layers, group)
    masks["critic"]["q1.layer_0"][0, 0] = False
    assert deep["layer_0"].all()
    assert masks_of(fresh()) == {}


# Training with masks that change.


@cache
def run(kind: str) -> tuple[DynamicSparsity, list[tuple[int, Any, Any]], Any]:
    """A whole training: its masks, what was seen at each step (copies), and the last state."""
    masks, seen = dynamic_masks(kind), []
    start = masks.start(fresh())
    last = trained(masks, copied(start), range(1, 25), lambda step, *states: seen.append((step, *map(copied, states))))
    return masks, [(0, start, start), *seen], last


@pytest.mark.parametrize("kind", ["gradual", "set", "rigl"])
def test_masks_hold_at_every_step(kind: str) -> None:
    _, seen, _ = run(kind)
    for _, before, after in seen:
        assert SAC.masks_hold(before)
        assert SAC.masks_hold(after)


@pytest.mark.parametrize(
    ("kind", "updates"), [("gradual", [4, 8, 12, 16, 20]), ("set", [4, 8, 12, 16]), ("rigl", [4, 8, 12, 16])]
)
def test_masks_change_when_they_are_due(kind: str, updates: list[int]) -> None:
    masks, seen, state = run(kind)
    changed = [step for step, before, after in seen if bits(before) != bits(after)]
    # At the first step of gradual pruning, the cubic is still zero.
    assert changed == (updates[1:] if kind == "gradual" else updates)
    for step in {*range(1, 25)} - {*updates}:
        assert masks.update(state, step, random_batch()) is state


@pytest.mark.parametrize("kind", ["set", "rigl"])
def test_rewiring_keeps_each_layers_count_and_changes_the_share_that_is_due(kind: str) -> None:
    _, seen, _ = run(kind)
    first = masks_of(seen[0][1])
    for step, before, after in seen:
        old, new = masks_of(before), masks_of(after)
        for group, path in paths(first):
            total = np.count_nonzero(first[group][path])
            assert np.count_nonzero(new[group][path]) == total
            most = int(FRACTIONS.get(step, 0) * total)
            assert np.count_nonzero(old[group][path] & ~new[group][path]) <= most
    assert any(not np.array_equal(first[g][p], masks_of(seen[-1][2])[g][p]) for g in GROUPS for p in first[g])


@pytest.mark.parametrize("kind", ["set", "rigl"])
def test_what_is_grown_starts_from_zero_everywhere_and_then_learns(kind: str) -> None:
    _, seen, _ = run(kind)
    grown_in_all = learnt = returned = 0
    for (step, before, after), (_, later, _) in itertools.pairwise(seen):
        if step not in FRACTIONS:
            continue
        old, new = masks_of(before), masks_of(after)
        for group, path in paths(old):
            weights = np.asarray(kernels(before.params[group])[path])
            kept, _ = drop_and_grow(
                {path: weights}, {path: old[group][path]}, FRACTIONS[step], {path: np.zeros_like(weights)}
            )
            grown = new[group][path] & ~kept[path]
            assert np.array_equal(kept[path] & new[group][path], kept[path])
            for was, now in zip(everywhere(before, group, path), everywhere(after, group, path), strict=True):
                assert not now[grown].any()
                assert np.array_equal(now[kept[path]], was[kept[path]])
            grown_in_all += np.count_nonzero(grown)
            returned += np.count_nonzero(grown & old[group][path])
            learnt += np.count_nonzero(np.asarray(kernels(later.params[group])[path])[grown])
    assert grown_in_all > 50
    assert returned > 0
    assert learnt > 20  # not all: units that are dead on a batch give no gradient


@jax.jit
def gradients_by_hand(state: sac.SACState, batch: Transitions, key: jax.Array) -> dict[str, Any]:
    critic_key, actor_key = jax.random.split(key)

    def by_actor(actor: Any) -> jax.Array:
        return sac.actor_loss(actor, state.params["critic"], state, batch.observations, actor_key, SETTINGS)[0]

    by_critic = jax.grad(sac.critic_loss)(state.params["critic"], state, batch, critic_key, SETTINGS)
    return {"actor": jax.grad(by_actor)(state.params["actor"]), "critic": by_critic}


def test_rigl_grows_where_the_dense_gradient_is_largest() -> None:
    masks, seen, _ = run("rigl")
    step, before, after = seen[8]
    batch = random_batch(step)
    words = divmod(masks.streams.for_purpose("mask update", step), 2**32)
    key = jax.random.wrap_key_data(np.array(words, np.uint32))
    gradient = gradients_by_hand(before, batch, key)
    old, new = masks_of(before), masks_of(after)
    for group, path in paths(old):
        size = np.abs(np.asarray(kernels(gradient[group])[path]))
        born, unborn = new[group][path] & ~old[group][path], ~new[group][path]
        if born.any():
            # Compiled apart, the gradients agree to rounding.
            assert size[born].min() >= size[unborn].max() - 1e-5
    assert any((new[g][p] & ~old[g][p]).any() for g in GROUPS for p in old[g])


def test_set_grows_by_chance_alone() -> None:
    masks = dynamic_masks("set")
    state = masks.start(fresh())
    one, other = (masks_of(masks.update(state, 4, random_batch(seed))) for seed in (0, 1))
    assert all(np.array_equal(one[g][p], other[g][p]) for g in GROUPS for p in one[g])
    elsewhere = masks_of(masks.__class__(**(vars(masks) | {"interval": 1})).update(state, 5, random_batch(0)))
    assert any(not np.array_equal(one[g][p], elsewhere[g][p]) for g in GROUPS for p in one[g])


@pytest.mark.parametrize("end", [20, 23])
def test_gradual_pruning_shrinks_to_exactly_what_was_asked(end: int) -> None:
    masks, left = dynamic_masks("gradual", end=end), []

    def see(step: int, before: Any, after: Any) -> None:
        old, new = masks_of(before), masks_of(after)
        assert not any((new[g][p] & ~old[g][p]).any() for g in GROUPS for p in old[g])
        left.append({name: sum(counts(own).values()) for g in GROUPS for name, own in networks(g, new[g]).items()})

    def networks(group: str, layers: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
        return {f"{group}.{name}": own for name, own in by_network(layers).items()}

    trained(masks, masks.start(fresh()), range(1, 25), see)
    by_hand = {step: 1 - (1 - (step - 4) / (end - 4)) ** 3 for step in range(4, end, 4)} | {end: 1.0}
    whole = {name: own for g in GROUPS for name, own in networks(g, kernels(fresh().params[g])).items()}
    assert len(whole) == 3  # an actor and two critics, each with a budget of its own
    for name, layers in whole.items():
        total, sparsity = sum(layer.size for layer in layers.values()), SPARSITY[name.partition(".")[0]]
        found = [each[name] for each in left]
        for step, share in by_hand.items():
            assert found[step - 1] == pytest.approx(total * (1 - share * sparsity), abs=0.51)
        assert found[end - 1] == found[-1] == survivor_count(total, sparsity)
    assert sum(left[end - 2].values()) > sum(left[end - 1].values())


@pytest.mark.parametrize("kind", ["gradual", "set", "rigl"])
def test_training_goes_on_from_any_step_with_the_same_bits(kind: str) -> None:
    _, seen, last = run(kind)
    # As from a file: a new object, and arrays that were NumPy's meanwhile.
    for step in (3, 8, 13):
        state = copied(seen[step][2])
        assert bits(trained(dynamic_masks(kind), state, range(step + 1, 25))) == bits(last)


@pytest.mark.parametrize("kind", ["gradual", "set", "rigl"])
def test_an_update_of_the_masks_compiles_nothing_anew(kind: str) -> None:
    run(kind)
    compiled = UPDATE._cache_size()
    masks = dynamic_masks(kind, streams=Streams("another", "Target-v0", 1, kind))
    kinds = {name: (array.dtype, array.shape) for name, array in to_arrays(masks.start(fresh())).items()}
    state = trained(masks, masks.start(fresh()), range(1, 13))
    assert {name: (array.dtype, array.shape) for name, array in to_arrays(state).items()} == kinds
    assert UPDATE._cache_size() == compiled


def test_gradual_pruning_that_cuts_a_network_says_so() -> None:
    masks = dynamic_masks("gradual", sparsity={"actor": 0.1, "critic": 0.98})
    state = masks.start(fresh())
    # The large weights of q1 leave its unit 0, those that follow belong to unit 1.
    params = jax.tree.map(np.array, state.params)
    params["critic"]["q1"]["layer_0"]["kernel"][:, 0] = 9
    params["critic"]["q1"]["layer_1"]["kernel"][1] = 9
    with pytest.raises(MaskError, match="^critic: .*'q1' is cut at layer 'q1.layer_1'.*lower sparsity"):
        masks.update(state._replace(params=params), 20, random_batch())


@pytest.mark.parametrize("kind", ["set", "rigl"])
def test_rewiring_that_cuts_a_network_may_heal(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    masks = dynamic_masks(kind)
    state = masks.start(fresh())

    def cut(mask: GroupMask) -> None:
        raise MaskError("cut")

    monkeypatch.setattr(dynamic, "check_connected", cut)
    assert masks.update(state, 4, Transitions(*random_batch())) is not state
