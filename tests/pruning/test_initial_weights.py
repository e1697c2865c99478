import numpy as np
import pytest

from rlottery.pruning.initial_weights import permute_weights, rescale
from tests.pruning.networks import TICKET, TWINS, equal, rng


class TestPermuteWeights:
    def test_the_same_values_at_other_surviving_positions(self) -> None:
        permuted = permute_weights(TWINS, TICKET, rng())
        for path, kernel in TWINS.items():
            alive = TICKET[path]
            assert sorted(permuted[path][alive]) == sorted(kernel[alive])
            assert not np.array_equal(permuted[path][alive], kernel[alive])
            assert np.array_equal(permuted[path][~alive], kernel[~alive])
            assert permuted[path].dtype == kernel.dtype

    def test_its_arguments_stay(self) -> None:
        before = {path: kernel.copy() for path, kernel in TWINS.items()}
        permute_weights(TWINS, TICKET, rng())
        assert equal(before, TWINS)


class TestRescale:
    def test_by_hand(self) -> None:
        kernels = {"layer_0": np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9], [1, 1, 1]], dtype=np.float32)}
        mask = {"layer_0": np.array([[1, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1]], dtype=bool)}
        rescaled = rescale(kernels, mask)["layer_0"]
        assert rescaled.tolist() == [[2, 2, 3], [4, 5, 6], [7, 8, 9], [1, 1, 1]]
        assert rescaled.dtype == np.float32

    @pytest.mark.parametrize("kept", [2, 10, 40])
    def test_gives_the_variance_of_pre_activations_back(self, kept: int) -> None:
        generator = rng(kept)
        kernel = generator.normal(size=(60, 1)).astype(np.float32)
        outputs, plain = [], []
        for _ in range(4000):
            alive = generator.permutation(np.arange(60) < kept)[:, None]
            inputs = generator.normal(size=(20, 60))
            outputs.append(inputs @ np.where(alive, rescale({"k": kernel}, {"k": alive})["k"], 0))
            plain.append(inputs @ np.where(alive, kernel, 0))
        dense = np.sum(kernel.astype(np.float64) ** 2)
        assert np.var(outputs) == pytest.approx(dense, rel=0.06)
        assert np.var(plain) == pytest.approx(dense * kept / 60, rel=0.06)
