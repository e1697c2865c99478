"""Idle survivors are given back: against a plain procedure that counts paths, by hand, and by what must hold."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rlottery.errors import MaskError
from rlottery.pruning.allocation import survivor_count
from rlottery.pruning.effective import effective, on_a_path
from rlottery.pruning.masks import GroupMask, by_network, kept_weights, survivors
from rlottery.pruning.prune import prune
from rlottery.pruning.reclaim import reclaimed
from tests.pruning.networks import equal, network, sizes

Weight = tuple[int, int, int]
"""Layer, input, output."""


def named(layers: list[np.ndarray], prefix: str = "") -> dict[str, np.ndarray]:
    return {f"{prefix}layer_{index}": layer for index, layer in enumerate(layers)}


@st.composite
def masked(draw: st.DrawFn, ties: bool = False) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Scores and masks of a network's layers, of any density."""
    widths = draw(st.lists(st.integers(1, 5), min_size=3, max_size=5))
    generator = np.random.default_rng(draw(st.integers(0, 2**31)))
    shapes = list(itertools.pairwise(widths))
    density = draw(st.sampled_from([0.15, 0.3, 0.5, 0.8]))
    scores = [generator.integers(0, 4, shape).astype(float) if ties else generator.random(shape) for shape in shapes]
    return scores, [generator.random(shape) < density for shape in shapes]


def open_weights(kept: list[np.ndarray]) -> set[Weight]:
    """The weights that are on a path if they survive, by the number of paths to and from their units."""
    into, out = [np.ones(kept[0].shape[0], int)], [np.ones(kept[-1].shape[1], int)]
    for layer in kept:
        into.append(into[-1] @ layer)
    for layer in reversed(kept):
        out.append(layer @ out[-1])
    out.reverse()
    return {
        (layer, i, j)
        for layer, mask in enumerate(kept)
        for i, j in np.ndindex(*mask.shape)
        if into[layer][i] > 0 and out[layer + 1][j] > 0
    }


def one_by_one(scores: list[np.ndarray], kept: list[np.ndarray]) -> list[np.ndarray]:
    """The documented procedure, one exchange after the other. Scores must differ."""
    kept = [layer.copy() for layer in kept]

    def score(weight: Weight) -> float:
        return float(scores[weight[0]][weight[1:]])

    def set_to(value: bool, *weights: Weight) -> None:
        for layer, i, j in weights:
            kept[layer][i, j] = value

    def pruned_and_open() -> list[Weight]:
        return [w for w in open_weights(kept) if not kept[w[0]][w[1:]]]

    def exchange(idle: list[Weight]) -> bool:
        for weight in idle:
            set_to(False, weight)
            if gains := pruned_and_open():
                set_to(True, max(gains, key=score))
                return True
            set_to(True, weight)
        return False

    def new_units() -> Iterator[tuple[Weight, Weight]]:
        now = open_weights(kept)
        for layer in range(len(kept) - 1):
            for i, unit, j in np.ndindex(*kept[layer].shape, kept[layer + 1].shape[1]):
                into, out = (layer, i, unit), (layer + 1, unit, j)
                if into not in now and out not in now and not kept[layer][i, unit] and not kept[layer + 1][unit, j]:
                    set_to(True, into, out)
                    if {into, out} <= open_weights(kept):
                        yield into, out
                    set_to(False, into, out)

    while idle := sorted(
        (
            w
            for layer, mask in enumerate(kept)
            for w in ((layer, *at) for at in np.argwhere(mask).tolist())
            if w not in open_weights(kept)
        ),
        key=score,
    ):
        if exchange(idle):
            continue
        if len(idle) < 2:
            break
        set_to(False, *idle[:2])
        pairs = list(new_units())
        if not pairs:
            set_to(True, *idle[:2])
            break
        set_to(True, *max(pairs, key=lambda pair: score(pair[0]) + score(pair[1])))
    return kept


@settings(max_examples=60)
@given(drawn=masked())
def test_it_is_the_documented_procedure(drawn: tuple[list[np.ndarray], list[np.ndarray]]) -> None:
    scores, kept = drawn
    assert equal(reclaimed(named(scores), named(kept)), named(one_by_one(scores, kept)))


@settings(max_examples=60)
@given(drawn=masked(ties=True))
def test_what_must_hold(drawn: tuple[list[np.ndarray], list[np.ndarray]]) -> None:
    scores, kept = drawn
    before, mask = effective({"": named(kept)}), reclaimed(named(scores), named(kept))
    after = effective({"": mask})
    assert kept_weights(mask) == kept_weights(named(kept))
    assert all(np.all(layer[on_path]) for layer, on_path in zip(mask.values(), on_a_path(kept), strict=True))
    idle = kept_weights(mask) - sum(after.useful.values())
    assert idle <= kept_weights(mask) - sum(before.useful.values())
    assert equal(reclaimed(named(scores), mask), mask)
    assume(sum(before.useful.values()) > 0)  # the network was connected
    # One idle weight may remain: without it, all weights between the units in use survive, and a new unit takes two.
    rest = on_a_path(list(mask.values()))
    assert idle == 0 or (idle == 1 and all(rest[layer][i, j] for layer, i, j in open_weights(rest)))


def test_by_hand() -> None:
    """Two inputs, three units, one output. Unit 1 leads nowhere; unit 2 has no input."""
    scores = {"layer_0": np.array([[9.0, 3.0, 1.0], [2.0, 4.0, 5.0]]), "layer_1": np.array([[8.0], [7.0], [6.0]])}
    mask = {"layer_0": np.array([[1, 1, 0], [0, 1, 0]], bool), "layer_1": np.array([[1], [0], [1]], bool)}
    # Idle are 3 and 4, into unit 1, and 6, out of unit 2. For 3 comes 7, out of unit 1: that puts 4 on a path. For 6,
    # with unit 2 without a way on, comes 3 again: of what is on a path it is better than 2.
    expected = {"layer_0": [[1, 1, 0], [0, 1, 0]], "layer_1": [[1], [1], [0]]}
    assert {path: layer.astype(int).tolist() for path, layer in reclaimed(scores, mask).items()} == expected


def test_a_new_unit_takes_two_idle_weights() -> None:
    """One unit of each layer is in use, and idle weights join unused ones, worth 4 + 3, 5 + 1, 2 + 4 and 1 + 4."""
    scores = {
        "layer_0": np.array([[9.0, 4.0, 5.0]]),
        "layer_1": np.array([[9.0, 2.0, 1.0], [3.0, 0.1, 0.0], [1.0, 0.0, 0.2]]),
        "layer_2": np.array([[9.0], [4.0], [4.0]]),
    }
    first = {"layer_0": np.array([[1, 0, 0]], bool), "layer_2": np.array([[1], [0], [0]], bool)}
    two: GroupMask = {"layer_0": first["layer_0"], "layer_1": np.eye(3, dtype=bool), "layer_2": first["layer_2"]}
    found = reclaimed(scores, two)
    assert found["layer_0"].astype(int).tolist() == [[1, 1, 0]]
    assert found["layer_1"].astype(int).tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]
    one = two | {"layer_1": np.diag([True, True, False])}
    assert equal(reclaimed(scores, one), one)


def test_ties_go_to_the_lowest_index() -> None:
    scores = {"layer_0": np.ones((3, 2)), "layer_1": np.ones((2, 1))}
    mask = {"layer_0": np.array([[0, 1], [0, 1], [1, 0]], bool), "layer_1": np.array([[1], [0]], bool)}
    # The last idle weight goes first, and (0, 0) comes; then the other goes, and (1, 0) comes.
    assert reclaimed(scores, mask)["layer_0"].tolist() == [[True, False]] * 3


def test_twins_keep_their_budgets_and_connects_what_was_cut() -> None:
    twins = sizes(network(4, 24, 24, 1, prefix="q1.")) | sizes(network(4, 24, 24, 1, prefix="q2.", seed=1))
    with pytest.raises(MaskError, match="'q2' is cut"):
        prune(twins, 0.9)
    by_name = by_network(prune(twins, 0.9, reclaim=True))
    assert [kept_weights(of) for of in by_name.values()] == [survivor_count(4 * 24 + 24 * 24 + 24, 0.9)] * 2
    assert [effective({name: of}).idle for name, of in by_name.items()] == [0, 0]


def test_only_survivors_of_the_last_mask_come_back() -> None:
    scores = sizes(network(6, 20, 20, 2))
    before = prune(scores, 0.5)
    later = {path: np.where(before[path], of, 9.0) for path, of in scores.items()}
    mask = prune(later, 0.9, within=before, reclaim=True)
    assert all(not (layer & ~before[path]).any() for path, layer in mask.items())
    assert kept_weights(mask) == kept_weights(prune(scores, 0.9))


def test_a_mask_without_idle_survivors_stays_as_it_is() -> None:
    whole: GroupMask = {"layer_0": np.ones((3, 4), bool), "layer_1": np.ones((4, 2), bool)}
    assert equal(reclaimed(sizes(network(3, 4, 2)), whole), whole)
    assert survivors(prune(sizes(network(3, 4, 2)), 0.0, reclaim=True)) == {"layer_0": (12, 12), "layer_1": (8, 8)}
