"""Int8 weights: each is within half a step, in every format that has them. test_export.py measures their cost."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlottery.export.c_header import header
from rlottery.export.formats import FORMATS, writer_of
from rlottery.export.int8 import in_int8
from rlottery.export.returns import Returns
from tests.command import refusal
from tests.export.exported import SHAPES, random_policy

HAVE_INT8 = [name for name, about in FORMATS.items() if about.int8]


@given(st.lists(st.integers(1, 30), min_size=2, max_size=4), st.sampled_from([None, 0.0, 0.1, 0.7]), st.integers(0, 99))
def test_each_weight_is_within_half_a_step_of_its_unit(widths: list[int], density: float | None, seed: int) -> None:
    policy = random_policy(widths, density, seed)
    rounded = in_int8(policy)
    for (kernel, bias), (close, same) in zip(policy.policy.layers, rounded.policy.layers, strict=True):
        steps = np.abs(kernel).max(axis=0, initial=0) / 127
        assert (np.abs(close - kernel) <= 0.5001 * steps + 1e-12).all()
        assert not close[kernel == 0].any(), "what is pruned stays pruned"
        np.testing.assert_array_equal(same, bias)
    for layer, (close, _) in zip(rounded.connected, rounded.policy.layers, strict=False):
        if layer.integers is not None and layer.scales is not None:
            assert layer.integers.dtype == np.int8 and np.abs(layer.integers.astype(int)).max() <= 127
            np.testing.assert_array_equal(layer.integers.astype(np.float32) * layer.scales, close)


@pytest.mark.parametrize("name", HAVE_INT8)
@pytest.mark.parametrize("shape", SHAPES)
def test_files_compute_what_the_integers_say(name: str, shape: str) -> None:
    widths, density, fields = SHAPES[shape]
    policy = in_int8(random_policy(widths, density, **fields))
    seen = np.random.default_rng(1).normal(0, 2, (50, widths[0])).astype(np.float32)
    found = writer_of(name).actions(writer_of(name).content(policy), policy, seen).actions
    np.testing.assert_allclose(found, policy.policy(seen), rtol=0, atol=5e-6)


@pytest.mark.parametrize("name", HAVE_INT8)
def test_files_are_smaller(name: str) -> None:
    floats = random_policy([39, 64, 64, 4], None)
    whole, small = (len(writer_of(name).content(policy)) for policy in (floats, in_int8(floats)))
    assert small < 0.45 * whole
    assert header(in_int8(floats)).constants < 0.3 * header(floats).constants


@pytest.mark.parametrize("words", [("--to", "policy.npz"), ("--format", "safetensors"), ()])
def test_other_formats_have_none(words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert re.search(
        r"--int8 is not for the format \w+. Choose one with --format: onnx, c", refusal("export", "x", "--int8", *words)
    )
    assert "--int8 is not for the format minari" in refusal("export", "x", "--int8", "--format", "minari")


def test_how_returns_are_told() -> None:
    assert str(Returns(1, -150.0, -151.5)) == (
        "Mean return of 1 evaluation episode: -151.50 with int8 weights, -150.00 with 32-bit floats (difference -1.50)."
    )
    assert "(difference +0.00)" in str(Returns(1, 0.0, -0.001))
    assert str(Returns(10, 1.0, 2.0, (0.9, 0.8))).endswith("(difference +1.00); success in 80% and 90%.")
