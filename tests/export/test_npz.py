"""The file of a policy: the page's reader and SciPy read what was written, and it is never the larger of its forms."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from rlottery.export.npz import content
from tests.export.exported import policy_of_the_page, random_policy

Policy = policy_of_the_page()


WIDTHS = st.lists(st.integers(1, 40), min_size=2, max_size=5)
DENSITIES = st.sampled_from([None, 0.0, 0.02, 0.1, 0.5, 1.0])


@given(WIDTHS, DENSITIES, st.integers(0, 2**31))
def test_the_pages_reader_has_every_layer_to_the_bit(widths: list[int], density: float | None, seed: int) -> None:
    folded = random_policy(widths, density, seed)
    policy = Policy(io.BytesIO(content(folded)))
    assert len(policy.layers) == policy.about["layers"] == len(widths) - 1
    for found, expected in zip(policy.layers, folded.policy.layers, strict=True):
        for array, original in zip(found, expected, strict=True):
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array, original)


@pytest.mark.parametrize(("inputs", "kind"), [(200, np.uint8), (300, np.uint16), (70_000, np.uint32)])
def test_survivors_as_sparse_libraries_take_them(inputs: int, kind: type) -> None:
    folded = random_policy([inputs, 3], 0.02)
    with np.load(io.BytesIO(content(folded)), allow_pickle=False) as file:
        values, indices, starts = (file[f"layer_0.{part}"] for part in ("values", "indices", "starts"))
        assert "layer_0.kernel" not in file
    assert indices.dtype == kind
    matrix = scipy.sparse.csr_matrix((values, indices, starts), shape=(3, inputs))
    np.testing.assert_array_equal(matrix.toarray().T, folded.policy.layers[0][0])


@given(WIDTHS, DENSITIES, st.integers(0, 2**31))
def test_no_larger_than_all_layers_dense(widths: list[int], density: float | None, seed: int) -> None:
    folded = random_policy(widths, density, seed)
    every = tuple(np.ones_like(kept) for kept in folded.kept)
    assert len(content(folded)) <= len(content(replace(folded, kept=every)))


def test_size_at_95_percent() -> None:
    widths = [39, 256, 256, 4]
    ticket, dense = (len(content(random_policy(widths, density))) for density in (0.05, None))
    assert ticket < dense / 10


def test_the_same_policy_is_the_same_bytes() -> None:
    assert len({content(random_policy([20, 30, 2], 0.1)) for _ in range(2)}) == 1


def test_what_it_is_of_is_json_and_no_array_is_a_pickle() -> None:
    folded = random_policy([3, 2], 0.5, arm="\u00e4\u0000")
    with np.load(io.BytesIO(content(folded)), allow_pickle=False) as file:
        about = json.loads(file["about"].item())
        assert about["format_version"] == 1 and about["arm"] == "\u00e4\u0000"
        assert folded.source.items() <= about.items()
        assert all(array.dtype != object for array in file.values())
