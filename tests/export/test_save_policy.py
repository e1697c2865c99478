"""A policy that its owner has pruned in Python, written to a file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rlottery

RNG = np.random.default_rng(0)
LAYERS = tuple(
    (RNG.normal(size=shape).astype(np.float32), RNG.normal(size=shape[1]).astype(np.float32))
    for shape in ((3, 8), (8, 8), (8, 2))
)
WHOLE = rlottery.Policy(
    task="Pendulum-v1",
    kwargs={"g": 9.8},
    seed=4,
    arm="dense",
    sparsity=0.0,
    observation_size=3,
    action_size=1,
    action_low=np.array([-2.0], np.float32),
    action_high=np.array([2.0], np.float32),
    layers=LAYERS,
    agent_sha256="0f" * 32,
)
OBSERVATIONS = RNG.normal(size=(100, 3)).astype(np.float32)


def pruned() -> rlottery.Policy:
    """Without the second observation entry, the weights of one unit, and those to another one's output."""
    (first, bias), (second, bias_2), (last, bias_3) = ((kernel.copy(), bias) for kernel, bias in LAYERS)
    first[1], first[:, 2], last[5] = 0.0, 0.0, 0.0
    return replace(WHOLE, layers=((first, bias), (second, bias_2), (last, bias_3)), arm="pruned", sparsity=12 / 104)


def test_it_acts_as_the_policy_does_with_fewer_units(tmp_path: Path) -> None:
    small = pruned()
    saved = rlottery.save_policy(small, tmp_path / "small.npz")
    loaded = rlottery.load_agent(saved.file)
    np.testing.assert_allclose(loaded(OBSERVATIONS), small(OBSERVATIONS), atol=1e-5)
    assert np.abs(loaded(OBSERVATIONS) - WHOLE(OBSERVATIONS)).max() > 0.1
    assert (saved.dead, saved.constant, saved.of_units, saved.unread) == (1, 1, 16, (1,))
    assert [kernel.shape for kernel, _ in loaded.layers] == [(3, 7), (7, 7), (7, 1)]
    assert (loaded.arm, loaded.seed, loaded.agent_sha256) == ("pruned", 4, "0f" * 32)
    assert loaded.sparsity == small.sparsity
    again = rlottery.save_policy(loaded, tmp_path / "again.npz")
    assert (again.weights, again.dead, again.constant) == (saved.weights, 0, 0)


def test_a_policy_without_zeros_keeps_all_units(tmp_path: Path) -> None:
    saved = rlottery.save_policy(WHOLE, str(tmp_path / "whole.safetensors"))
    assert (saved.dead, saved.constant, saved.unread) == (0, 0, ()) and saved.difference < 1e-5
    assert saved.weights == 24 + 64 + 8 and saved.of_weights == 24 + 64 + 16


def test_the_result_compares_the_file_with_the_policy(tmp_path: Path) -> None:
    small = pruned()
    left = sum(np.count_nonzero(kernel) for kernel, _ in small.layers)
    said = str(rlottery.save_policy(small, tmp_path / "small.npz"))
    assert f", of {left} in the policy, where zeros are not counted.\n" in said
    assert "\nLargest difference from the policy's actions: " in said and "run" not in said.partition("\n")[2]


@pytest.mark.parametrize(
    ("to", "format", "message"),
    [
        ("a", "onx", "`format` onx: unknown; did you mean 'onnx'? Choose from: npz, safetensors, onnx, torch, c."),
        ("a", "minari", "`format` minari: unknown. Choose from: npz, safetensors, onnx, torch, c."),
        ("a.tflite", None, "no format has the ending .tflite. Choose one with `format`: npz (.npz), "),
        ("a.npz", "onnx", "Give a name that ends in .onnx, or leave out `format`."),
        ("there.npz", None, "there.npz already exists and was not changed. Give another name: `to`"),
        ("there.npz/a.npz", None, "there.npz is not a folder. Give another path: `to`"),
    ],
)
def test_messages_name_the_arguments(tmp_path: Path, to: str, format: str | None, message: str) -> None:
    (tmp_path / "there.npz").touch()
    with pytest.raises(rlottery.RlotteryError) as error:
        rlottery.save_policy(WHOLE, tmp_path / to, format)
    assert message in str(error.value) and "--" not in str(error.value)


(FIRST, *REST), WIDE = LAYERS, np.zeros((4, 8), np.float32)


@pytest.mark.parametrize(
    ("layers", "to", "message"),
    [
        (((WIDE, FIRST[1]), *REST), "a.npz", r"Layer 0 of the policy has a kernel \(4, 8\) and a bias \(8,\)"),
        ((FIRST, *REST[1:], *REST[1:]), "a.npz", r"Layer 2 .* its kernel must be \(2, outputs\)"),
        (((FIRST[0] * np.inf, FIRST[1]), *REST), "a.npz", "Layer 0 of the policy has values that are not finite"),
        ((FIRST, (np.zeros((8, 0), np.float32), np.zeros(0, np.float32))), "a.npz", "The policy has 0 outputs, and 1"),
        (LAYERS, "a.tflite", "no format has the ending .tflite"),
        (LAYERS, "there.npz", "there.npz already exists"),
    ],
)
def test_what_cant_be_written_is_refused(
    tmp_path: Path, layers: tuple[tuple[np.ndarray, np.ndarray], ...], to: str, message: str
) -> None:
    (tmp_path / "there.npz").touch()
    with pytest.raises(rlottery.RlotteryError, match=message):
        rlottery.save_policy(replace(WHOLE, layers=layers), tmp_path / to)
    assert [path.name for path in tmp_path.iterdir()] == ["there.npz"]


THREE = np.ones(3, np.float32)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"layers": ()}, r"The policy's layers must be one or more pairs \(kernel, bias\) of arrays, not \(\)"),
        ({"layers": (*LAYERS[:2], LAYERS[2][0])}, "The policy's layers must be one or more pairs"),
        ({"layers": ((LAYERS[0][0],), *LAYERS[1:])}, "The policy's layers must be one or more pairs"),
        ({"layers": (("weights", "bias"),)}, "The policy's layers must be one or more pairs"),
        ({"statistics": (np.zeros(2), np.ones(2))}, r"The policy's statistics .* finite numbers of shape \(3,\), not"),
        ({"statistics": (THREE * np.nan, THREE)}, "The policy's statistics must be .* finite .* not .*nan"),
        ({"statistics": (THREE, -THREE)}, "The policy's statistics must be"),
        ({"statistics": THREE}, "The policy's statistics must be"),
        ({"activation": "gelu"}, "The policy's activation must be 'relu' or 'tanh', not 'gelu'"),
        ({"squash": None}, "The policy's squash must be 'tanh' or 'clip', not None"),
        ({"action_low": np.zeros(2)}, r"The policy's action_low must be finite numbers of shape \(1,\), not array"),
        ({"action_high": np.array([1e300])}, "The policy's action_high must be finite numbers"),
        ({"first_action": 0}, "The policy's action_low must be empty for discrete actions, not array"),
        ({"sparsity": np.nan}, "The policy's sparsity must be a number from 0 to 1, not nan"),
        ({"sparsity": 90}, "The policy's sparsity must be a number from 0 to 1, not 90"),
        ({"seed": 3.5}, "The policy's seed must be a whole number from 0 to 9223372036854775807, not 3.5"),
        ({"action_size": 0}, "The policy's action_size must be a whole number from 1 to"),
        ({"arm": None}, "The policy's arm must be a string, not None"),
    ],
)
def test_the_attribute_that_cant_be_written_is_named(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(rlottery.RlotteryError, match=message):
        rlottery.save_policy(replace(WHOLE, **fields), tmp_path / "a.npz")
    assert not list(tmp_path.iterdir())


def test_numpys_numbers_are_written_as_plain_ones(tmp_path: Path) -> None:
    numbers: dict[str, Any] = {"seed": np.int64(3), "sparsity": np.float32(0.25), "action_size": np.int32(1)}
    saved = rlottery.save_policy(replace(WHOLE, **numbers, action_low=[-2], action_high=[2.0]), tmp_path / "a.npz")
    loaded = rlottery.load_agent(saved.file)
    assert (loaded.seed, loaded.sparsity, loaded.action_size) == (3, 0.25, 1)
    np.testing.assert_allclose(loaded(OBSERVATIONS), WHOLE(OBSERVATIONS), atol=1e-5)
