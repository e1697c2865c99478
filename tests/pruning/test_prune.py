from typing import Any

import numpy as np
import pytest

from rlottery.errors import MaskError
from rlottery.pruning.allocation import survivor_count
from rlottery.pruning.masks import survivors
from rlottery.pruning.prune import allocate, prune
from rlottery.pruning.structured import is_structured, units_of
from tests.pruning.networks import network, sizes

TOTAL = 11 * 32 + 32 * 32 + 32 * 6


@pytest.mark.parametrize("allocation", ["global", "uniform", "erk"])
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.8, 0.95])
def test_the_count_is_exact(allocation: str, sparsity: float) -> None:
    kernels = network(11, 32, 32, 6)
    mask = prune(sizes(kernels), sparsity, allocation=allocation)  # type: ignore[arg-type]
    assert sum(np.count_nonzero(m) for m in mask.values()) == survivor_count(TOTAL, sparsity)
    assert {path: m.shape for path, m in mask.items()} == {path: k.shape for path, k in kernels.items()}


def test_allocations_share_out_in_their_ways() -> None:
    scores = sizes(network(11, 32, 32, 6))
    kept = {rule: prune(scores, 0.9, allocation=rule) for rule in ("uniform", "erk")}  # type: ignore[arg-type]
    shares = {rule: [m.mean() for m in mask.values()] for rule, mask in kept.items()}
    assert shares["uniform"] == pytest.approx([0.1] * 3, abs=0.01)
    # ERK: densities in the ratio of (in + out) / (in * out).
    expected = np.array([43 / 352, 64 / 1024, 38 / 192])
    assert shares["erk"] == pytest.approx(expected * 0.1 * TOTAL / (43 + 64 + 38), abs=0.01)


def test_a_share_for_each_layer() -> None:
    mask = prune(sizes(network(10, 20, 5)), [0.5, 0.0])
    assert survivors(mask) == {"layer_0": (100, 200), "layer_1": (100, 100)}


def test_twins_take_the_same_shares() -> None:
    twins = sizes(network(10, 20, 1, prefix="q1.")) | sizes(network(10, 20, 1, prefix="q2.", seed=1))
    mask = prune(twins, [0.9, 0.5])
    assert [kept for kept, _ in survivors(mask).values()] == [20, 10, 20, 10]


def test_only_survivors_of_the_last_mask_compete() -> None:
    kernels = network(11, 32, 32, 6)
    before = prune(sizes(kernels), 0.5)
    # The weights that are gone have the highest scores of all now.
    scores = {path: np.where(before[path], np.abs(kernel), 9.0) for path, kernel in kernels.items()}
    for rule in ("global", "uniform", "erk"):
        mask = prune(scores, 0.8, allocation=rule, within=before)  # type: ignore[arg-type]
        assert all(np.all(before[path][layer]) for path, layer in mask.items())
        assert sum(np.count_nonzero(m) for m in mask.values()) == survivor_count(TOTAL, 0.8)


def test_whole_units() -> None:
    mask = prune(sizes(network(11, 32, 32, 6)), 0.8, structure="units")
    assert is_structured(mask)
    assert sum(np.count_nonzero(m) for m in mask.values()) <= survivor_count(TOTAL, 0.8)
    with pytest.raises(MaskError, match="with allocation global or uniform"):
        prune(sizes(network(3, 4, 1)), 0.1, structure="units", allocation="erk")


def weak_twin() -> dict[str, np.ndarray]:
    """Scores of two critics, those of the second all below those of the first."""
    first, second = network(4, 8, 1, prefix="q1."), network(4, 8, 1, prefix="q2.", seed=1)
    return {path: np.abs(k) + 10 for path, k in first.items()} | sizes(second)


def test_each_twin_critic_has_its_own_budget() -> None:
    mask = prune(weak_twin(), 0.3)
    alone = {n: prune({p: s for p, s in weak_twin().items() if p.startswith(n)}, 0.3) for n in ("q1", "q2")}
    assert all(np.array_equal(layer, alone[path[:2]][path]) for path, layer in mask.items())
    kept = {path: count for path, (count, _) in survivors(mask).items()}
    assert kept["q1.layer_0"] + kept["q1.layer_1"] == kept["q2.layer_0"] + kept["q2.layer_1"] == survivor_count(40, 0.3)


def test_twin_critics_of_earlier_studies_share_a_budget() -> None:
    mask = prune(weak_twin(), 0.3, twins="shared")
    # All of the first one's 40, and 16 of the second's.
    assert [sum(np.count_nonzero(m) for p, m in mask.items() if p.startswith(n)) for n in ("q1", "q2")] == [40, 16]


def test_each_twin_keeps_within_its_own_last_mask() -> None:
    before = prune(weak_twin(), 0.3)
    # What is gone has the highest scores now.
    scores = {path: np.where(before[path], score, 99.0) for path, score in weak_twin().items()}
    mask = prune(scores, 0.6, within=before)
    assert all(np.all(before[path][layer]) for path, layer in mask.items())
    assert [sum(np.count_nonzero(m) for p, m in mask.items() if p.startswith(n)) for n in ("q1", "q2")] == [16, 16]


def test_each_twin_keeps_as_much_of_its_own_units() -> None:
    mask = prune(weak_twin(), 0.6, structure="units")
    # A unit has 4 + 1 weights: 3 of 8 units are at most 16 of 40 weights.
    assert {path: int(units.sum()) for path, units in units_of(mask).items()} == {"q1.layer_0": 3, "q2.layer_0": 3}
    shared = units_of(prune(weak_twin(), 0.6, structure="units", twins="shared"))
    assert {path: int(units.sum()) for path, units in shared.items()} == {"q1.layer_0": 5, "q2.layer_0": 1}


@pytest.mark.parametrize("allocation", ["uniform", "erk"])
def test_allocations_by_shape_treat_twins_alike(allocation: Any) -> None:
    for sparsity in (0.31, 0.5, 0.9):
        kept = allocate(allocation, weak_twin(), sparsity)
        for layer in ("layer_0", "layer_1"):
            assert abs(kept[f"q1.{layer}"] - kept[f"q2.{layer}"]) <= 1


def test_messages_begin_with_the_group() -> None:
    with pytest.raises(MaskError, match="^critic: A sparsity of 2 is out of range"):
        prune(sizes(network(2, 2, 1)), 2, group="critic")


def test_a_mask_that_cuts_the_network_is_refused() -> None:
    kernels = {"q1.layer_0": np.array([[9.0, 0.1]]), "q1.layer_1": np.array([[0.1], [9.0]])}
    message = "^critic: The network 'q1' is cut at layer 'q1.layer_1'.*lower sparsity, or allocation: erk"
    with pytest.raises(MaskError, match=message):
        prune(kernels, 0.5, group="critic")
