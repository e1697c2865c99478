"""The file of a policy: the page's reader and SciPy read what was written, and it is never the larger of its forms."""

import io
import json
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from rlottery.export.policy_file import policy_bytes
from rlottery.pruning.fold import Folded, fold
from tests.agents.kernels.networks import random_network
from tests.export.exported import policy_of_the_page

Policy = policy_of_the_page()


def network(widths: list[int], density: float | None, seed: int = 0) -> Folded:
    layers, masks = random_network(np.random.default_rng(seed), widths, [density] * (len(widths) - 1))
    named = {f"layer_{index}": layer for index, layer in enumerate(layers)}
    named_masks = {} if density is None else {f"layer_{i}": {"kernel": mask} for i, mask in enumerate(masks)}
    return fold(named, named_masks)


def about(widths: list[int]) -> dict[str, Any]:
    return {"observation_size": widths[0], "action_low": [-1.0] * widths[-1], "action_high": [1.0] * widths[-1]}


WIDTHS = st.lists(st.integers(1, 40), min_size=2, max_size=5)
DENSITIES = st.sampled_from([None, 0.0, 0.02, 0.1, 0.5, 1.0])


@given(WIDTHS, DENSITIES, st.integers(0, 2**31))
def test_the_pages_reader_has_every_layer_to_the_bit(widths: list[int], density: float | None, seed: int) -> None:
    folded = network(widths, density, seed)
    policy = Policy(io.BytesIO(policy_bytes(folded, about(widths))))
    assert len(policy.layers) == policy.about["layers"] == len(widths) - 1
    for (kernel, bias), layer in zip(policy.layers, folded.params.values(), strict=True):
        for found, expected in ((kernel, layer["kernel"]), (bias, layer["bias"])):
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("inputs", "kind"), [(200, np.uint8), (300, np.uint16), (70_000, np.uint32)])
def test_survivors_as_sparse_libraries_take_them(inputs: int, kind: type) -> None:
    folded = network([inputs, 3], 0.02)
    with np.load(io.BytesIO(policy_bytes(folded, about([inputs, 3]))), allow_pickle=False) as file:
        values, indices, starts = (file[f"layer_0.{part}"] for part in ("values", "indices", "starts"))
        assert "layer_0.kernel" not in file
    assert indices.dtype == kind
    matrix = scipy.sparse.csr_matrix((values, indices, starts), shape=(3, inputs))
    np.testing.assert_array_equal(matrix.toarray().T, folded.params["layer_0"]["kernel"])


@given(WIDTHS, DENSITIES, st.integers(0, 2**31))
def test_no_larger_than_all_layers_dense(widths: list[int], density: float | None, seed: int) -> None:
    folded = network(widths, density, seed)
    dense = policy_bytes(folded._replace(masks={}), about(widths))
    assert len(policy_bytes(folded, about(widths))) <= len(dense)


def test_size_at_95_percent() -> None:
    widths = [39, 256, 256, 4]
    ticket, dense = (len(policy_bytes(network(widths, density), about(widths))) for density in (0.05, None))
    assert ticket < dense / 10


def test_the_same_policy_is_the_same_bytes() -> None:
    assert len({policy_bytes(network([20, 30, 2], 0.1), about([20, 30, 2])) for _ in range(2)}) == 1


def test_what_it_is_for_is_json_and_no_array_is_a_pickle() -> None:
    told = about([3, 2]) | {"task": "Pendulum-v1", "odd": "\u00e4\u0000"}
    with np.load(io.BytesIO(policy_bytes(network([3, 2], 0.5), told)), allow_pickle=False) as file:
        assert json.loads(file["about"].item()) == told | {"format_version": 1, "layers": 1}
        assert all(array.dtype != object for array in file.values())
