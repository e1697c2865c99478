import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rlottery.errors import MaskError
from rlottery.pruning.allocation import allocate_global, survivor_count
from rlottery.pruning.mask_file import mask_from_bytes, mask_to_bytes
from rlottery.pruning.masks import (
    GroupMask,
    Mask,
    check_connected,
    check_fits,
    check_shapes,
    digest,
    in_layer_order,
    make_mask,
    overlap,
    select,
    sparsity_of,
    survivors,
)
from rlottery.pruning.prune import prune
from tests.pruning.networks import groups_of_scores, network, sizes, small_mask


def bools(rows: list[list[int]]) -> np.ndarray:
    return np.array(rows, dtype=np.bool_)


def mask_of(**layers: list[list[int]]) -> GroupMask:
    return {path.replace("__", "."): bools(rows) for path, rows in layers.items()}


def paths_through(layers: list[np.ndarray]) -> bool:
    """Tries every path of units from any input to any output."""
    widths = [layers[0].shape[0], *(layer.shape[1] for layer in layers)]
    return any(
        all(layer[a, b] for layer, a, b in zip(layers, units[:-1], units[1:], strict=True))
        for units in itertools.product(*map(range, widths))
    )


class TestSelect:
    def test_exact_counts_and_ties_by_index(self) -> None:
        scores = {"layer_0": np.array([[1.0, 3.0], [3.0, 3.0]]), "layer_1": np.zeros((2, 1))}
        mask = select(scores, {"layer_0": 2, "layer_1": 1})
        assert mask["layer_0"].tolist() == [[False, True], [True, False]]
        assert mask["layer_1"].tolist() == [[True], [False]]

    @pytest.mark.parametrize("counts", [{"layer_0": 5}, {"layer_1": 1}, {}])
    def test_counts_that_do_not_fit(self, counts: dict[str, int]) -> None:
        with pytest.raises(MaskError):
            select({"layer_0": np.ones((2, 2))}, counts)

    @given(scores=groups_of_scores(), sparsity=st.floats(0, 0.9))
    def test_with_allocation_keeps_the_best_of_the_group(self, scores: dict[str, np.ndarray], sparsity: float) -> None:
        total = sum(s.size for s in scores.values())
        assume(survivor_count(total, sparsity) >= len(scores))
        counts = allocate_global(scores, sparsity)
        mask = select(scores, counts)

        assert {path: np.count_nonzero(m) for path, m in mask.items()} == counts
        assert sum(counts.values()) == survivor_count(total, sparsity)
        position = {path: layer for layer, path in enumerate(scores)}
        pruned = [
            (-scores[path][index], position[path], index)
            for path, m in mask.items()
            for index in zip(*np.nonzero(~m), strict=True)
        ]
        for path, m in mask.items():
            if counts[path] > 1:
                worst = max((-scores[path][i], position[path], i) for i in zip(*np.nonzero(m), strict=True))
                # Score, then layer, then index: no pruned weight of any layer ranks above a survivor.
                assert all(worst < other for other in pruned)
        again = select(scores, allocate_global(scores, sparsity))
        assert all(np.array_equal(mask[path], again[path]) for path in mask)


class TestConnected:
    def test_an_unnamed_network(self) -> None:
        with pytest.raises(MaskError, match="^The network is cut at layer 'layer_1'"):
            check_connected(mask_of(layer_0=[[1, 0]], layer_1=[[0], [1]]))

    def test_each_network_must_stand_alone(self) -> None:
        whole = {"q1__layer_0": [[1]], "q1__layer_1": [[1]]}
        check_connected(mask_of(**whole))
        with pytest.raises(MaskError, match="'q2' is cut at layer 'q2.layer_0'"):
            check_connected(mask_of(**whole, q2__layer_0=[[0]], q2__layer_1=[[1]]))

    def test_layers_that_do_not_join(self) -> None:
        with pytest.raises(MaskError, match="'layer_1' has 3 inputs, but the layer before it has 2 outputs"):
            check_connected(mask_of(layer_0=[[1, 1]], layer_1=[[1], [1], [1]]))

    @given(widths=st.lists(st.integers(1, 3), min_size=2, max_size=5), data=st.data())
    def test_equals_trying_every_path(self, widths: list[int], data: st.DataObject) -> None:
        layers = [
            bools(data.draw(st.lists(st.lists(st.integers(0, 1), min_size=b, max_size=b), min_size=a, max_size=a)))
            for a, b in itertools.pairwise(widths)
        ]
        mask = {f"layer_{i}": layer for i, layer in enumerate(layers)}
        if paths_through(layers):
            check_connected(mask)
        else:
            with pytest.raises(MaskError, match="is cut"):
                check_connected(mask)


class TestShapes:
    KERNELS = network(3, 4, 2)

    def test_a_mask_of_the_network_passes(self) -> None:
        check_shapes(prune(sizes(self.KERNELS), 0.2), self.KERNELS)

    @pytest.mark.parametrize(
        ("mask", "message"),
        [
            (network(3, 5, 2), r"'layer_0' has shape \(3, 5\), but the network's kernel has shape \(3, 4\)"),
            (network(3, 4), "has no layer layer_1"),
            (network(3, 4, 2, 2), "has a layer layer_2, which the network doesn't have"),
        ],
    )
    def test_others_are_named(self, mask: dict[str, np.ndarray], message: str) -> None:
        with pytest.raises(MaskError, match=message):
            check_shapes({path: m > 0 for path, m in mask.items()}, self.KERNELS)


def test_counts_by_hand() -> None:
    mask = mask_of(layer_0=[[1, 0, 0], [1, 1, 0]], layer_1=[[0], [0], [1]])
    assert survivors(mask) == {"layer_0": (3, 6), "layer_1": (1, 3)}
    assert sparsity_of(mask) == 5 / 9


class TestOverlap:
    def test_by_hand(self) -> None:
        a = mask_of(x=[[1, 1], [0, 0]], y=[[1, 0]])
        b = mask_of(x=[[1, 0], [1, 0]], y=[[1, 0]])
        # Shared 1 + 1, united 3 + 1; by chance 2*2/4 + 1*1/2 shared of 3 + 3 less the shared.
        assert overlap(a, b).jaccard == 2 / 4
        assert overlap(a, b).chance == pytest.approx(1.5 / 4.5)

    def test_equal_and_disjoint_masks(self) -> None:
        a = mask_of(x=[[1, 0], [0, 1]])
        assert overlap(a, a).jaccard == 1
        assert overlap(a, {"x": ~a["x"]}).jaccard == 0
        nothing = mask_of(x=[[0, 0], [0, 0]])
        assert overlap(nothing, nothing).jaccard == 1

    def test_chance_equals_random_masks_with_the_same_counts(self) -> None:
        rng = np.random.default_rng(0)
        sizes, kept_a, kept_b = [600, 900], [120, 30], [60, 300]

        def random_mask(kept: list[int]) -> GroupMask:
            layers = {}
            for i, (size, count) in enumerate(zip(sizes, kept, strict=True)):
                layers[str(i)] = rng.permutation(np.arange(size) < count).reshape(30, -1)
            return layers

        drawn = [overlap(random_mask(kept_a), random_mask(kept_b)) for _ in range(2000)]
        jaccards = np.array([o.jaccard for o in drawn])
        error = jaccards.std() / np.sqrt(len(jaccards))
        assert abs(jaccards.mean() - drawn[0].chance) < 4 * error + 0.005 * drawn[0].chance

    def test_masks_of_other_networks(self) -> None:
        with pytest.raises(MaskError, match=r"different networks.*\(1, 2\).*\(2, 1\)"):
            overlap(mask_of(x=[[1, 1]]), mask_of(x=[[1], [1]]))

    def test_whole_agents(self) -> None:
        mask = small_mask()
        assert list(mask.all_layers)[:3] == ["actor.layer_0", "actor.layer_1", "critic.q1.layer_0"]
        assert overlap(mask.all_layers, mask.all_layers).jaccard == 1


class TestDigest:
    def test_ignores_the_order_of_layers_and_the_metadata(self) -> None:
        mask = small_mask()
        turned = Mask({group: dict(reversed(layers.items())) for group, layers in reversed(mask.groups.items())}, {})
        assert digest(mask) == digest(turned) == mask.metadata["digest"]

    def test_sees_every_bit_path_shape_and_group(self) -> None:
        def agent(actor: GroupMask, critic: GroupMask) -> Mask:
            return Mask({"actor": actor, "critic": critic}, {})

        one, two = mask_of(x=[[1, 0], [1, 1]]), mask_of(x=[[1, 1]])
        others = [agent(two, one), agent({"y": one["x"]}, two), agent({"x": one["x"].reshape(4, 1)}, two)]
        for index in np.ndindex(2, 2):
            flipped = one["x"].copy()
            flipped[index] ^= True
            others.append(agent({"x": flipped}, two))
        digests = {digest(mask) for mask in [agent(one, two), *others]}
        assert len(digests) == 1 + len(others)


class TestMakeMask:
    def test_metadata(self) -> None:
        metadata = small_mask().metadata
        assert metadata["task"] == "drawer-close-v3"
        assert metadata["estimator"] is None
        assert metadata["sparsity_asked"] == {"actor": 0.5, "critic": 0.3}
        assert metadata["sparsity_reached"] == {"actor": 20 / 40, "critic": 24 / 80}
        assert sum(kept for kept, _ in metadata["layers"]["actor"].values()) == 20
        assert metadata["layers"]["critic"]["q2.layer_1"][1] == 8

    def test_of_ones_own(self) -> None:
        layer = np.array([[1, 0, 0], [1, 1, 0]])
        forms = (layer, layer.astype(np.float32), np.asfortranarray(layer > 0), layer.tolist())
        masks = [make_mask({"actor": {"layer_0": form}}, task="t", seed=3) for form in forms]
        for mask in masks:
            assert mask.groups["actor"]["layer_0"].tolist() == (layer > 0).tolist()
            assert mask.metadata == masks[0].metadata
            assert mask_from_bytes(mask_to_bytes(mask), "x").metadata["sparsity_asked"] == {"actor": 0.5}

    @pytest.mark.parametrize(
        "layer",
        [
            np.full((2, 2), 2),
            np.full((2, 2), 0.5),
            np.full((2, 2), np.nan),
            np.full((2, 2), "1"),
            np.full((2, 2), True, object),
            np.ones(2, bool),
            np.ones((2, 0), bool),
            np.ma.masked_array(np.ones((2, 2), bool), mask=np.eye(2)),
            [[1, 0], [1]],
            None,
        ],
    )
    def test_other_layers_are_refused(self, layer: Any) -> None:
        with pytest.raises(MaskError, match="^actor: layer 'layer_0' (must be a C-ordered bool matrix|is of type)"):
            make_mask({"actor": {"layer_0": layer}}, task="t", seed=0)

    @pytest.mark.parametrize("layers", [None, [], {}, {1: np.ones((2, 2), bool)}])
    def test_other_groups_are_refused(self, layers: Any) -> None:
        with pytest.raises(MaskError, match="^actor (is not a dict|has a layer name of type int)"):
            make_mask({"actor": layers}, task="t", seed=0)


class TestFits:
    def test_other_groups(self) -> None:
        mask = small_mask()
        check_fits(mask, mask.groups)
        with pytest.raises(MaskError, match=r"^The mask has no group q. It has actor, critic.$"):
            check_fits(mask, mask.groups | {"q": {}})
        with pytest.raises(MaskError, match=r"^The mask has a group critic, which the agent doesn't have.$"):
            check_fits(mask, {"actor": mask.groups["actor"]})

    def test_names_the_group(self) -> None:
        mask = small_mask()
        with pytest.raises(MaskError, match=r"^critic: The mask has no layer q9."):
            check_fits(mask, {**mask.groups, "critic": {"q9": np.ones((2, 2))}})


class TestLayerOrder:
    @pytest.mark.parametrize(
        ("given", "ordered"),
        [
            ("layer_0 layer_1 layer_10 layer_2", "layer_0 layer_1 layer_2 layer_10"),
            ("q10.l1 q2.l10 q2.l9 q10.l0", "q2.l9 q2.l10 q10.l0 q10.l1"),
            ("b.2 a.10 b.1 a.9", "b.1 b.2 a.9 a.10"),
            ("out2 in1", "out2 in1"),
            ("layer_2 layer_1 head", "layer_2 layer_1 head"),
            ("z y", "z y"),
            ("", ""),
        ],
    )
    def test_by_hand(self, given: str, ordered: str) -> None:
        assert list(in_layer_order(dict.fromkeys(given.split(), 0))) == ordered.split()
