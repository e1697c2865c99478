from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlottery.agents import sac
from rlottery.agents.base import apply_masks, from_arrays, kernels, nest_kernels, to_arrays, zeros_hold
from rlottery.errors import StudyError
from tests.agents.small import SETTINGS, advanced, fresh, random_masks


@pytest.fixture(scope="module")
def trained() -> Any:
    return advanced(fresh(), 3)


def test_a_state_comes_back_to_the_bit_with_its_random_key(trained: Any) -> None:
    shapes = jax.eval_shape(lambda: sac.init(trained.params, jax.random.key(0), SETTINGS))
    arrays = to_arrays(trained)
    assert all(type(array) is np.ndarray for array in arrays.values())
    back = from_arrays(shapes, arrays)
    assert jax.tree.structure(back) == jax.tree.structure(trained)
    assert jax.random.normal(back.key) == jax.random.normal(trained.key)
    again = to_arrays(back)
    assert arrays.keys() == again.keys()
    for name, array in arrays.items():
        assert (array.dtype, array.shape, array.tobytes()) == (
            again[name].dtype,
            again[name].shape,
            again[name].tobytes(),
        ), name


def test_arrays_are_named_by_their_place(trained: Any) -> None:
    arrays = to_arrays(trained)
    np.testing.assert_array_equal(
        arrays["params.critic.q1.layer_0.kernel"], trained.params["critic"]["q1"]["layer_0"]["kernel"]
    )
    assert len(arrays) == len(jax.tree.leaves(trained))


def test_another_shape_is_named(trained: Any) -> None:
    arrays = to_arrays(trained)
    arrays["params.actor.layer_1.kernel"] = np.zeros((12, 9), np.float32)
    words = r"layer_1\.kernel is float32 of shape \(12, 9\) in the file, and is float32 of shape \(12, 4\) in this"
    with pytest.raises(StudyError, match=words):
        from_arrays(trained, arrays)


def test_missing_and_surplus_arrays_are_named(trained: Any) -> None:
    arrays = to_arrays(trained)
    del arrays["log_temperature"]
    with pytest.raises(StudyError, match="log_temperature is missing in the file"):
        from_arrays(trained, arrays)
    with pytest.raises(StudyError, match=r"surplus is float64 of shape \(2,\) in the file, and is missing in this"):
        from_arrays(trained, to_arrays(trained) | {"surplus": np.zeros(2)})


def test_another_type_is_named(trained: Any) -> None:
    arrays = to_arrays(trained)
    arrays["log_temperature"] = arrays["log_temperature"].astype(np.float64)
    with pytest.raises(StudyError, match=r"log_temperature is float64 of shape \(\) in the file, and is float32"):
        from_arrays(trained, arrays)


def test_a_key_of_another_shape_is_refused(trained: Any) -> None:
    with pytest.raises(StudyError, match="key is uint32 of shape"):
        from_arrays(trained, to_arrays(trained) | {"key": np.zeros(4, np.uint32)})


_NAMES = st.text("abcq_0123456789", min_size=1, max_size=6).filter(lambda name: name != "kernel")


@given(st.dictionaries(st.lists(_NAMES, min_size=1, max_size=3).map(".".join), st.integers(), min_size=1, max_size=5))
def test_nesting_kernels_and_naming_them_are_inverse(flat: dict[str, int]) -> None:
    nested = nest_kernels(flat)
    assert kernels(nested) == flat
    assert nest_kernels(kernels(nested)) == nested


def test_kernels_come_from_input_to_output_without_biases() -> None:
    params = fresh().params
    assert list(kernels(params["actor"])) == ["layer_0", "layer_1"]
    twins = kernels(params["critic"])
    assert list(twins) == [f"{q}.layer_{index}" for q in ("q1", "q2") for index in range(3)]
    assert twins["q2.layer_1"] is params["critic"]["q2"]["layer_1"]["kernel"]


def test_kernels_of_many_layers_come_in_their_order_whatever_jax_makes_of_it() -> None:
    network = {f"layer_{index}": {"kernel": np.ones((1, 1)), "bias": np.ones(1)} for index in range(12)}
    shuffled = jax.tree.map(lambda leaf: leaf, {"q2": network, "q1": network})
    assert list(kernels(shuffled)) == [f"{q}.layer_{index}" for q in ("q1", "q2") for index in range(12)]


def test_masking_zeroes_pruned_weights_and_nothing_else() -> None:
    params = jax.tree.map(np.asarray, fresh().params)
    masks = random_masks(params, seed=1)
    masked = apply_masks(params, masks)
    for path, mask in kernels(masks["critic"]).items():
        kept = np.asarray(kernels(masked["critic"])[path])
        assert np.array_equal(kept, np.where(mask, kernels(params["critic"])[path], 0))
    for name, layer in params["actor"].items():
        assert np.array_equal(masked["actor"][name]["bias"], layer["bias"])


def test_a_single_live_weight_where_one_was_pruned_is_noticed() -> None:
    tree = {"q1": {"layer_0": {"kernel": np.zeros((2, 2)), "bias": np.ones(2)}}}
    mask = {"q1": {"layer_0": {"kernel": np.array([[True, False], [False, True]])}}}
    assert zeros_hold(tree, mask)
    tree["q1"]["layer_0"]["kernel"][0, 0] = 1
    assert zeros_hold(tree, mask)
    tree["q1"]["layer_0"]["kernel"][0, 1] = 1e-30
    assert not zeros_hold(tree, mask)
    tree["q1"]["layer_0"]["kernel"][0, 1] = np.nan
    assert not zeros_hold(tree, mask)
