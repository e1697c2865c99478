"""`rlottery.prune` on other people's arrays. What real PyTorch makes of it: tests/test_functions_with_torch.py."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rlottery
from rlottery.errors import MaskError
from rlottery.pruning.allocation import allocate_erk
from rlottery.pruning.criteria import CRITERIA
from rlottery.pruning.masks import sparsity_of

WIDTHS = (5, 16, 12, 3)


def matrix(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def flax_tree(seed: int = 0) -> dict[str, Any]:
    pairs = enumerate(pairwise(WIDTHS))
    return {"params": {f"Dense_{i}": {"kernel": matrix(*s, seed=seed), "bias": matrix(s[1])} for i, s in pairs}}


def kernels(tree: dict[str, Any]) -> list[np.ndarray]:
    return [np.asarray(layer["kernel"]) for layer in tree["params"].values()]


def torch_like(tree: dict[str, Any]) -> dict[str, np.ndarray]:
    """The same network as a state_dict of a PyTorch nn.Sequential, with (outputs, inputs), in NumPy."""
    named: dict[str, np.ndarray] = OrderedDict()
    for index, layer in enumerate(tree["params"].values()):
        named |= {f"{2 * index}.weight": layer["kernel"].T, f"{2 * index}.bias": layer["bias"]}
    return named


@dataclass(frozen=True)
class Linear:
    """As in Equinox."""

    weight: Any
    bias: Any
    use_bias: bool = True


class Pair(NamedTuple):
    w: Any
    b: Any


TREE = flax_tree()
TREES: dict[str, Any] = {
    "flax": TREE,
    "jax": jax.tree.map(jnp.asarray, TREE),
    "torch": torch_like(TREE),
    "equinox": {"layers": tuple(Linear(layer["kernel"].T, layer["bias"]) for layer in TREE["params"].values())},
    "haiku": {
        f"mlp/~/linear_{i}": Pair(layer["kernel"], layer["bias"]) for i, layer in enumerate(TREE["params"].values())
    },
    "pairs": [(layer["kernel"], layer["bias"]) for layer in TREE["params"].values()],
    "list": kernels(TREE),
    "turned list": [kernel.T for kernel in kernels(TREE)],
}


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_the_same_mask_for_the_same_network_in_any_layout(tree: Any) -> None:
    mask = rlottery.prune(tree, sparsity=0.75)
    everything = np.concatenate([np.abs(kernel).ravel() for kernel in kernels(TREE)])
    lowest_kept = np.sort(everything)[len(everything) * 3 // 4]
    for kept, kernel in zip(mask.layers.values(), kernels(TREE), strict=True):
        np.testing.assert_array_equal(kept, np.abs(kernel) >= lowest_kept)
    assert mask.sparsity == 0.75

    pruned = mask.apply(tree)
    assert jax.tree.structure(_plain(pruned)) == jax.tree.structure(_plain(tree))
    leaves, before = jax.tree.leaves(_plain(pruned)), jax.tree.leaves(_plain(tree))
    for after, given in zip(leaves, before, strict=True):
        assert type(after) is type(given)
        expected = given if given.ndim == 1 else np.where(np.abs(given) >= lowest_kept, given, 0)
        np.testing.assert_array_equal(after, expected)
    assert np.count_nonzero(before[0]) == before[0].size, "what was given is unchanged"


def _plain(tree: Any) -> Any:
    """Dataclasses, which JAX doesn't know, as dicts."""
    return jax.tree.map(
        lambda leaf: [leaf.weight, leaf.bias] if isinstance(leaf, Linear) else leaf,
        tree,
        is_leaf=lambda leaf: isinstance(leaf, Linear),
    )


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_criterion_says_what_it_reads_and_then_works(criterion: str) -> None:
    data: dict[str, Any] = {}
    if CRITERIA[criterion].needs_data:
        with pytest.raises(MaskError, match="Add, as a tree like the weights") as refused:
            rlottery.prune(TREE, criterion, 0.5)
        key = str(refused.value).split("data['")[1].split("']")[0]
        data[key] = {
            f"params.Dense_{i}.kernel": np.abs(matrix(*_measured(key, kernel.shape), seed=7))
            for i, kernel in enumerate(kernels(TREE))
        }
    mask = rlottery.prune(TREE, criterion, 0.5, data=data)
    assert mask.sparsity == 0.5
    assert mask.about["estimator"] == CRITERIA[criterion].estimator()


def _measured(key: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if key.endswith("inputs"):
        return (9, shape[0])
    return (9, *shape) if key.endswith("sample_gradients") else shape


def test_streamed_gradients_are_averaged_as_in_a_study() -> None:
    """|w| times the mean of |g| over batches, by hand; `abs-mean` is the absolute value of the mean."""
    gradients = [flax_tree(seed) for seed in range(1, 5)]

    def batches() -> Iterator[dict[str, Any]]:
        yield from gradients

    for estimator, mean in (
        ("mean-abs", lambda g: np.mean(np.abs(g), axis=0)),
        ("abs-mean", lambda g: np.abs(np.mean(g, axis=0))),
    ):
        mask = rlottery.prune(
            TREE, "taylor", allocation=[0.8, 0.8, 0.5], data={"gradients": batches()}, estimator=estimator
        )
        assert mask.about["batches"] == 4
        for i, (kernel, kept) in enumerate(zip(kernels(TREE), mask.layers.values(), strict=True)):
            g = np.stack([kernels(of)[i].astype(np.float64) for of in gradients])
            scores = np.abs(kernel) * mean(g)
            assert set(scores[kept]) == set(np.sort(scores.ravel())[-np.count_nonzero(kept) :])


def test_a_criterion_may_read_two_averages_of_one_iterator() -> None:
    gradients = [flax_tree(seed) for seed in range(1, 4)]

    def steady(mean_gradient: np.ndarray, mean_abs_gradient: np.ndarray) -> np.ndarray:
        return np.abs(mean_gradient) / mean_abs_gradient

    mask = rlottery.prune(TREE, steady, 0.5, data={"gradients": iter(gradients)})
    assert mask.about["batches"] == 3
    of_batches = [np.stack(layers).astype(np.float64) for layers in zip(*map(kernels, gradients), strict=True)]
    scores = [np.abs(batches.mean(axis=0)) / np.abs(batches).mean(axis=0) for batches in of_batches]
    median = np.sort(np.concatenate([score.ravel() for score in scores]))[sum(s.size for s in scores) // 2]
    for kept, score in zip(mask.layers.values(), scores, strict=True):
        # A sum and a mean of three differ by a rounding at most.
        np.testing.assert_array_equal(kept, score >= median * (1 - 1e-12))


def test_samples_of_unequal_batches_count_alike() -> None:
    kernel, inputs = matrix(4, 6), matrix(10, 4)
    mask = rlottery.prune(
        {"kernel": kernel}, "wanda", 0.5, data={"inputs": [{"kernel": inputs[:7]}, {"kernel": inputs[7:]}]}
    )
    scores = np.abs(kernel) * np.sqrt(np.mean(np.square(inputs.astype(np.float64)), axis=0))[:, None]
    np.testing.assert_array_equal(mask.layers["kernel"], scores >= np.sort(scores.ravel())[12])

    each = {"kernel": matrix(10, 4, 6)}
    halves = [{"kernel": each["kernel"][:3]}, {"kernel": each["kernel"][3:]}]
    mask = rlottery.prune({"kernel": kernel}, "fisher", 0.5, data={"sample_gradients": halves})
    scores = np.square(kernel) * np.mean(np.square(each["kernel"].astype(np.float64)), axis=0)
    np.testing.assert_array_equal(mask.layers["kernel"], scores >= np.sort(scores.ravel())[12])


def test_gradients_in_pytorchs_layout() -> None:
    gradient = flax_tree(3)
    ours = rlottery.prune(TREE, "gradient", 0.6, data={"gradients": gradient})
    theirs = rlottery.prune(torch_like(TREE), "gradient", 0.6, data={"gradients": torch_like(gradient)})
    for one, other in zip(ours.layers.values(), theirs.layers.values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_sparsities_by_name_allocations_and_what_stays_dense() -> None:
    agent = {"actor": flax_tree()["params"], "critic": {"q1": flax_tree(1)["params"], "q2": flax_tree(2)["params"]}}
    mask = rlottery.prune(agent, sparsity={"actor": 0.9, "critic": 0.5}, allocation="erk")
    assert sparsity_of(mask.part("actor").layers) == pytest.approx(0.9, abs=1e-3)
    assert sparsity_of(mask.part("critic").layers) == pytest.approx(0.5, abs=1e-3)
    assert list(mask.part("critic").networks) == ["q1", "q2"]
    shapes = {layer: kept.shape for layer, kept in mask.part("actor").layers.items()}
    expected = allocate_erk(shapes, 0.9)
    assert {layer: kept for layer, (kept, _) in mask.part("actor").counts.items()} == expected

    mask = rlottery.prune(agent, sparsity=0.5, exclude=["critic.q2", "actor.Dense_2"])
    assert not any(layer.startswith("critic.q2") for layer in mask.layers) and "actor.Dense_2" not in mask.layers
    tree = mask.to_flax(agent)
    assert tree["critic"]["q2"]["Dense_0"]["kernel"].all() and tree["actor"]["Dense_0"]["bias"].all()
    assert not tree["actor"]["Dense_0"]["kernel"].all()


def test_a_mask_holds_in_training_with_optax() -> None:
    params = jax.tree.map(jnp.asarray, TREE)
    mask = rlottery.prune(params, sparsity=0.9, allocation="erk")
    tree = mask.to_flax(params)
    held = optax.stateless(lambda updates, _: jax.tree.map(jnp.multiply, updates, tree))
    optimizer = optax.chain(optax.adam(0.1), held)
    params = jax.tree.map(jnp.multiply, params, tree)
    state = optimizer.init(params)
    for _ in range(3):
        updates, state = optimizer.update(jax.tree.map(jnp.ones_like, params), state, params)
        params = optax.apply_updates(params, updates)
    for kernel, kept in zip(kernels(params), mask.layers.values(), strict=True):
        np.testing.assert_array_equal(kernel != 0, kept)
    assert np.count_nonzero(params["params"]["Dense_0"]["bias"]) == WIDTHS[1]


def test_what_was_pruned_stays_pruned_and_a_control_has_the_counts() -> None:
    first = rlottery.prune(TREE, sparsity=0.5)
    second = rlottery.prune(flax_tree(1), sparsity=0.8, within=first)
    assert all((second.layers[layer] <= first.layers[layer]).all() for layer in first.layers)
    control = second.random_control(seed=3)
    assert control.counts == second.counts
    with pytest.raises(MaskError, match="seed must be a whole number of at least 0, not -1"):
        second.random_control(-1)
    assert any((control.layers[layer] != second.layers[layer]).any() for layer in second.layers)


def test_ones_own_criterion() -> None:
    def moved(weights: np.ndarray, initial_weights: np.ndarray) -> np.ndarray:
        return np.abs(weights - initial_weights)

    with pytest.raises(MaskError, match=r"data\['initial_weights'\]"):
        rlottery.prune(TREE, moved, 0.5)
    mask = rlottery.prune(TREE, moved, 0.5, data={"initial_weights": flax_tree(1)})
    scores = [np.abs(a - b) for a, b in zip(kernels(TREE), kernels(flax_tree(1)), strict=True)]
    median = np.sort(np.concatenate([s.ravel() for s in scores]))[sum(s.size for s in scores) // 2]
    for kept, of_layer in zip(mask.layers.values(), scores, strict=True):
        np.testing.assert_array_equal(kept, of_layer >= median)


def test_synflow_is_that_of_its_paper() -> None:
    """Tanaka et al. 2020: R's gradient by automatic differentiation, 100 turns, one ranking; nothing of ours."""
    weights = [np.abs(kernel).astype(np.float64) for kernel in kernels(TREE)]
    total = sum(kernel.size for kernel in weights)
    kept = [np.ones(kernel.shape, bool) for kernel in weights]
    for turn in range(1, 101):
        flow = jax.grad(lambda ws: jnp.sum(ws[0] @ ws[1] @ ws[2]))(
            [jnp.asarray(w * k) for w, k in zip(weights, kept, strict=True)]
        )
        scores = np.concatenate([(w * np.asarray(f)).ravel() for w, f in zip(weights, flow, strict=True)])
        scores[~np.concatenate([k.ravel() for k in kept])] = -1
        survivors = total - round((1 - 0.2 ** (turn / 100)) * total)
        alive = scores >= np.sort(scores)[-survivors]
        kept = [
            part.reshape(k.shape)
            for part, k in zip(np.split(alive, np.cumsum([k.size for k in kept])[:-1]), kept, strict=True)
        ]
    mask = rlottery.prune(TREE, "synflow", 0.8)
    assert sum(np.count_nonzero(a != b) for a, b in zip(mask.layers.values(), kept, strict=True)) == 0


HEADS = {"fc1": matrix(4, 8), "fc2": matrix(8, 8), "mean": matrix(8, 2), "deviation": matrix(8, 2)}
BAD: dict[str, tuple[Any, dict[str, Any], str]] = {
    "nothing": ({}, {"sparsity": 0.5}, "no arrays in what is to be pruned"),
    "no matrix": ({"bias": matrix(3)}, {"sparsity": 0.5}, "no matrix to prune among bias"),
    "stacked critics": ({"q": {"kernel": matrix(2, 4, 5)}}, {"sparsity": 0.5}, r"q.kernel has the shape \(2, 4, 5\)"),
    "whole numbers": ({"kernel": np.ones((3, 3), int)}, {"sparsity": 0.5}, "holds int64, not floats"),
    "not finite": ({"kernel": np.full((3, 3), np.nan)}, {"sparsity": 0.5}, "NaN or infinite"),
    "unclear axes": ({"a": matrix(4, 4), "b": matrix(4, 4)}, {"sparsity": 0.5}, "Which axis of the kernels"),
    "names against shapes": (
        {"a": {"weight": matrix(3, 4)}, "b": {"weight": matrix(4, 2)}}, {"sparsity": 0.5},
        "Their names say one thing",
    ),
    "axes": (TREE, {"sparsity": 0.5, "axes": "oi"}, "axes='oi' is unknown"),
    "structure": (TREE, {"sparsity": 0.5, "structure": "unit"}, "one of 'weights', 'units', not 'unit'"),
    "estimator": (TREE, {"sparsity": 0.5, "criterion": "taylor", "estimator": "mean"}, "estimator must be one of"),
    "floor": (TREE, {"sparsity": 0.5, "floor": -1}, "floor must be a whole number"),
    "negative seed": (TREE, {"sparsity": 0.5, "seed": -1}, "seed must be a whole number of at least 0, not -1"),
    "seed of text": (TREE, {"sparsity": 0.5, "criterion": "random", "seed": "x"}, "seed must be .* not 'x'"),
    "exclude a number": (TREE, {"sparsity": 0.5, "exclude": 5}, "exclude must be a list of names, .* not 5"),
    "exclude None": (TREE, {"sparsity": 0.5, "exclude": None}, "exclude must be a list of names"),
    "exclude numbers": (TREE, {"sparsity": 0.5, "exclude": [0]}, r"exclude must be a list of names, .* not \[0\]"),
    "network of a number": (TREE, {"sparsity": 0.5, "networks": {"n": 5}}, r"networks\['n'\] must be a list of names"),
    "network of one name": (
        TREE, {"sparsity": 0.5, "networks": {"n": "params.Dense_0"}}, r"networks\['n'\] must be .* not 'params.Dense_0'"
    ),
    "list of networks": (TREE, {"sparsity": 0.5, "networks": [["a"]]}, "networks must be a dict"),
    "data that is a tree": (TREE, {"sparsity": 0.5, "criterion": "taylor", "data": [TREE]}, "data must be a dict"),
    "within": (TREE, {"sparsity": 0.5, "within": TREE}, "within must be a mask from rlottery.prune"),
    "no sparsity": (TREE, {}, "sparsity is missing"),
    "percent": (TREE, {"sparsity": 90}, "below 1, not 90.0"),
    "text": (TREE, {"sparsity": "high"}, "must be a number, not 'high'"),
    "sparsity of nothing": (TREE, {"sparsity": {"parms": 0.5}}, "no layer is called 'parms'. Did you mean 'params"),
    "layers without sparsity": (TREE, {"sparsity": {"params.Dense_0": 0.5}}, "none for params.Dense_1, params.Dense_2"),
    "twice": (TREE, {"sparsity": {"params": 0.5, "params.Dense_0": 0.1}}, "several names mean"),
    "allocation": (TREE, {"sparsity": 0.5, "allocation": "ERK"}, "no allocation 'ERK'"),
    "short list": (TREE, {"allocation": [0.5]}, "allocation needs 3 sparsities"),
    "both": (TREE, {"sparsity": 0.5, "allocation": [0.5] * 3}, "leave sparsity out"),
    "criterion": (TREE, {"sparsity": 0.5, "criterion": "taylr"}, "Did you mean 'taylor'"),
    "not a criterion": (TREE, {"sparsity": 0.5, "criterion": 3}, "a name or a function"),
    "unknown data": (TREE, {"sparsity": 0.5, "data": {"gradient": TREE}}, "Did you mean 'gradients'"),
    "another tree": (
        TREE, {"sparsity": 0.5, "criterion": "taylor", "data": {"gradients": {"a": matrix(2, 2)}}},
        "no array for params.Dense_0.kernel. It has a",
    ),
    "another shape": (
        TREE, {"sparsity": 0.5, "criterion": "taylor", "data": {"gradients": torch_like(TREE) | {
            f"params.Dense_{i}.kernel": kernel.T for i, kernel in enumerate(kernels(TREE))}}},
        r"batch 0, params.Dense_0.kernel has the shape \(16, 5\), not \(5, 16\)",
    ),
    "no batches": (TREE, {"sparsity": 0.5, "criterion": "taylor", "data": {"gradients": iter([])}}, "has no batches"),
    "exclude": (TREE, {"sparsity": 0.5, "exclude": ["head"]}, "exclude names 'head'"),
    "unknown layer": (TREE, {"sparsity": 0.5, "networks": {"n": ["Dense_9"]}}, "no layer 'Dense_9'"),
    "wrong order": (
        HEADS, {"sparsity": 0.5, "axes": "in-out", "networks": {"n": ["fc1", "mean", "fc2"]}},
        "'fc2' has 8 inputs, but 'mean'",
    ),
    "flow through heads": (HEADS, {"sparsity": 0.5, "criterion": "synflow"}, "Name each network's layers"),
    "cut": (TREE, {"sparsity": 0.98}, "The network 'params' is cut at layer 'params.Dense_"),
    "too sparse": (TREE, {"sparsity": 0.999}, "each layer keeps at least 1, in all 3"),
    "another mask": (TREE, {"sparsity": 0.5, "within": rlottery.prune(HEADS, sparsity=0.5)}, "The mask has no layer"),
}  # fmt: skip


@pytest.mark.parametrize(("weights", "arguments", "message"), BAD.values(), ids=BAD)
def test_one_message_says_what_is_wrong(weights: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(MaskError, match=message):
        rlottery.prune(weights, **arguments)


def test_networks_are_named_where_names_do_not_tell() -> None:
    networks = {"actor": ["fc1", "fc2", "mean"]}
    mask = rlottery.prune(HEADS, "synflow", 0.5, networks=networks)
    assert mask.networks == {"actor": ("fc1", "fc2", "mean"), "": ("deviation",)}
    assert rlottery.prune(HEADS, sparsity=0.5).networks == {name: (name,) for name in HEADS}


def test_a_mask_fits_by_name_or_by_order_or_as_named() -> None:
    mask = rlottery.prune(TREE, sparsity=0.5)
    for tree in (TREE["params"], TREES["list"]):
        found = [leaf for leaf in jax.tree.leaves(mask.to_flax(tree)) if leaf.ndim == 2]
        for kept, of_tree in zip(mask.layers.values(), found, strict=True):
            np.testing.assert_array_equal(of_tree, kept)
    back = {"c": TREES["list"][2], "b": TREES["list"][1], "a": TREES["list"][0]}
    named = mask.to_flax(back, names={"params.Dense_0": "a", "params.Dense_1": "b", "params.Dense_2": "c"})
    np.testing.assert_array_equal(named["a"], mask.layers["params.Dense_0"])
    with pytest.raises(MaskError, match="has the layers params.Dense_0"):
        mask.to_flax(HEADS)
    with pytest.raises(MaskError, match="names must give a parameter for each layer"):
        mask.to_flax(back, names={"params.Dense_0": "z"})
    with pytest.raises(MaskError, match="names gives 'a' to two layers of the mask: 'params.Dense_0' and"):
        mask.to_flax(back, names={"params.Dense_0": "a", "params.Dense_1": "a", "params.Dense_2": "c"})
    with pytest.raises(MaskError, match=r"which has \(5, 8\)"):
        mask.to_flax(
            {
                "Dense_0": {"kernel": matrix(5, 8)},
                "Dense_1": {"kernel": matrix(8, 12)},
                "Dense_2": TREE["params"]["Dense_2"],
            }
        )
