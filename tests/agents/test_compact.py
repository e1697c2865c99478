import jax
import numpy as np
import pytest

from rlottery.agents.base import apply_masks, nest_masks
from rlottery.agents.compact import compact, expand
from rlottery.agents.kernels.layout import BREAK_EVEN, FULL, PADDING, SPARSE
from rlottery.agents.sac import SAC
from rlottery.pruning.prune import Rule
from tests.agents.kernels.agents import arrays, fresh, random_masks, settings_of, spec_of, ticket
from tests.cases import EACH, Case


@EACH
@pytest.mark.parametrize("masks_change", [False, True])
@pytest.mark.parametrize("sparsity", [None, 0.2, 0.9])
def test_there_and_back_nothing_is_lost(sparsity: float | None, masks_change: bool, case: Case) -> None:
    state = fresh(case=case) if sparsity is None else ticket(sparsity, case=case)
    there, networks = compact(case.algorithm, state, masks_change=masks_change)
    networks_of = case.description.networks(spec_of(case), settings_of(case))
    assert len(jax.tree.leaves(there.params)) == len(networks_of)
    back = expand(case.algorithm, there, networks, state.masks)
    assert back.patterns == {}
    assert back.masks is state.masks
    one, other = arrays(state), arrays(back)
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert np.array_equal(array, other[name]), name


def test_layers_that_keep_most_weights_are_full_and_masked_in_the_vector() -> None:
    state = ticket(0.7, "erk")  # which leaves first and last layers nearly dense
    there, networks = compact(SAC, state)
    network = networks["actor"]
    masks = [np.asarray(state.masks["actor"][f"layer_{index}"]["kernel"]) for index in range(3)]
    assert network.layout.kinds == tuple(SPARSE if mask.mean() < BREAK_EVEN else FULL for mask in masks)
    assert set(network.layout.kinds) == {FULL, SPARSE}
    kept = np.asarray(there.masks["actor"].vector)
    assert kept.shape == (network.layout.size,)
    assert kept.sum() == sum(int(mask.sum()) for mask in masks) + sum(network.layout.widths[1:])
    # Where no layer is both, nothing is masked.
    assert compact(SAC, ticket(0.9))[0].masks == {"actor": {}, "critic": {"q1": {}, "q2": {}}}
    assert compact(SAC, fresh())[0].masks == {"actor": {}, "critic": {"q1": {}, "q2": {}}}


@EACH
def test_a_ticket_holds_its_survivors_and_biases_alone(case: Case) -> None:
    """With padding only where an update takes no norm, whose bits would depend on it."""
    there, _ = compact(case.algorithm, ticket(0.9, case=case))
    for group, masks in random_masks(0.9, case=case).items():
        packed = jax.tree.leaves(there.params[group])
        held = sum(int(mask.sum()) + mask.shape[1] for mask in masks.values())
        padding = sum(vector.size for vector in packed) - held
        assert 0 <= padding < sum(max(PADDING, vector.size / 16) for vector in packed)
        assert (padding == 0) == (case.name in ("dqn", "ppo"))
    sizes = {leaf.size for leaf in jax.tree.leaves(there.params)}
    everything = {leaf.size for leaf in jax.tree.leaves(there._replace(masks={}, patterns={})) if leaf.ndim}
    assert {size for size in everything if size >= min(sizes)} == sizes  # also targets and moments


def test_masks_that_will_change_are_one_vector_beside_all_weights() -> None:
    state = ticket(0.9)
    there, _ = compact(SAC, state, masks_change=True)
    layout = there.params["actor"].layout
    assert set(layout.kinds) == {FULL}
    again = apply_masks(there.params, there.masks)
    assert np.array_equal(again["actor"].vector, there.params["actor"].vector)
    spoilt = jax.tree.map(lambda vector: vector + 1, there.params)
    held = expand(SAC, there._replace(params=apply_masks(spoilt, there.masks)), compact(SAC, fresh())[1], state.masks)
    for name, mask in arrays(state.masks).items():
        kernel = arrays(held)[f"params.{name}"]
        assert not kernel[~mask].any()
        assert (kernel[mask] != 0).all()


@EACH
@pytest.mark.parametrize("allocation", ["global", "erk"])
def test_another_mask_with_as_many_survivors_is_the_same_program(allocation: Rule, case: Case) -> None:
    masks = [random_masks(0.9, allocation, seed, case) for seed in (0, 1)]
    counts = [{path: int(mask.sum()) for of in each.values() for path, mask in of.items()} for each in masks]
    assert (counts[0] == counts[1]) == (allocation == "erk")
    states = [case.algorithm.with_masks(fresh(case=case), nest_masks(each)) for each in masks]
    shapes = [jax.tree.map(lambda leaf: leaf.shape, compact(case.algorithm, state)[0]) for state in states]
    assert jax.tree.structure(shapes[0]) == jax.tree.structure(shapes[1])
    assert jax.tree.leaves(shapes[0]) == jax.tree.leaves(shapes[1])
