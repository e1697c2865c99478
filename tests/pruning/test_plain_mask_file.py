"""Mask files that other tools write: .npz and .safetensors, next to the pickle of the guide."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import rlottery
from rlottery.errors import MaskError
from rlottery.pruning.mask_file import mask_to_bytes
from rlottery.pruning.plain_mask_file import read_any_mask
from tests.pruning.networks import small_mask

MASK = small_mask()
LAYERS = MASK.all_layers


def npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


WRITERS: dict[str, Callable[[], bytes]] = {
    "npz": lambda: npz(**LAYERS),
    "npz of floats": lambda: npz(**{name: layer.astype(np.float32) for name, layer in LAYERS.items()}),
    "npz by column": lambda: npz(**{name: np.asfortranarray(layer) for name, layer in LAYERS.items()}),
    "compressed npz": lambda: _compressed(),
    "safetensors": lambda: safetensors.numpy.save(LAYERS),
    "safetensors of bytes": lambda: safetensors.numpy.save({n: layer.astype(np.uint8) for n, layer in LAYERS.items()}),
    "names of an agent's file": lambda: safetensors.numpy.save({f"{n}.kernel": layer for n, layer in LAYERS.items()}),
    "pickle": lambda: mask_to_bytes(MASK),
}


def _compressed() -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **LAYERS)  # type: ignore[arg-type]
    return stream.getvalue()


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_the_same_mask_from_every_format_whatever_the_file_is_called(
    write: Callable[[], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "mask"
    path.write_bytes(write())
    read = read_any_mask(path)
    assert list(read.all_layers) == list(LAYERS)
    assert all(np.array_equal(read.all_layers[name], layer) for name, layer in LAYERS.items())
    assert read.metadata["digest"] == MASK.metadata["digest"]


@pytest.mark.parametrize("suffix", [".pkl", ".npz", ".safetensors"])
def test_a_saved_mask_is_the_same_when_loaded(suffix: str, tmp_path: Path) -> None:
    weights = {
        f"{net}.{i}.weight": np.random.default_rng(i).normal(size=shape)
        for net in ("mu", "q")
        for i, shape in ((0, (8, 3)), (2, (8, 8)), (10, (2, 8)))
    }
    mask = rlottery.prune(
        weights, "taylor", 0.5, data={"gradients": weights}, networks={"mu": ["mu.0", "mu.2", "mu.10"]}
    )
    path = mask.save(tmp_path / f"mask{suffix}", task="Pendulum-v1", seed=3)
    loaded = rlottery.load_mask(path)
    assert list(loaded.layers) == list(mask.layers) and loaded.parameters == mask.parameters
    assert all(np.array_equal(loaded.layers[layer], kept) for layer, kept in mask.layers.items())
    assert loaded.about["seed"] == 3 and loaded.about["criterion"] == "taylor"
    assert loaded.about["estimator"] == mask.about["estimator"]
    pruned = loaded.apply(weights)
    assert all(np.array_equal(pruned[name], value) for name, value in mask.apply(weights).items())
    with pytest.raises(MaskError, match="exists"):
        mask.save(path)


@pytest.mark.parametrize("suffix", [".pkl", ".npz", ".safetensors"])
def test_layers_keep_their_names_whether_they_lie_in_a_network_or_not(suffix: str, tmp_path: Path) -> None:
    """CleanRL's QNetwork has `network.0`; a torch.nn.Sequential has `0`."""
    for number, prefixes in enumerate((["network."] * 2, ["", ""], ["", "actor."])):
        weights = {
            f"{prefix}{index}.weight": np.random.default_rng(index).normal(size=shape)
            for prefix, index, shape in zip(prefixes, (0, 2), ((8, 3), (2, 8)), strict=True)
        }
        mask = rlottery.prune(weights, sparsity=0.5)
        loaded = rlottery.load_mask(mask.save(tmp_path / f"{number}{suffix}"))
        assert list(loaded.layers) == list(mask.layers) and loaded.parameters == mask.parameters
        assert loaded.networks == mask.networks


def test_layers_keep_their_names_in_files_of_other_tools_and_of_earlier_versions(tmp_path: Path) -> None:
    kept = np.ones((2, 2), bool)
    parameters = json.dumps({"parameters": {"0": ["0.weight", "out-in"]}})
    for number, (arrays, layers) in enumerate(
        (
            ({"network.0": kept}, ["network.0"]),
            ({"0": kept}, ["0"]),
            ({"fc": kept, "actor.fc": kept}, ["fc", "actor.fc"]),
            ({"network.0": kept, "metadata": np.array(parameters)}, ["0"]),
        )
    ):
        path = tmp_path / f"{number}.npz"
        path.write_bytes(npz(**arrays))
        assert list(rlottery.load_mask(path).layers) == layers


def _zip(*entries: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return stream.getvalue()


def _npy(header: dict[str, Any], content: bytes = b"") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + content


HUGE = {"descr": "|b1", "fortran_order": False, "shape": (2**20, 2**20)}
BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "it is empty"),
    "text": (lambda: b"layer_0: 1 0 1 1 0", r"none of the formats of masks \(a text file\)"),
    "an image": (lambda: b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", r"none of the formats of masks \(a PNG image\)"),
    "no matrices": (lambda: npz(), "has no matrices"),
    "a vector": (lambda: npz(**{"actor.layer_0": np.ones(3, bool)}), r"bool matrix \(inputs, outputs\)"),
    "scores": (lambda: npz(**{"actor.layer_0": np.full((2, 2), 0.3)}), "Say which weights survive"),
    "objects": (lambda: npz(**{"actor.layer_0": np.array([[None]])}), "no array of numbers"),
    "cut off": (lambda: npz(**LAYERS)[:-40], "no directory of a ZIP file"),
    "a terabyte": (lambda: _zip(("actor.layer_0.npy", _npy(HUGE, b"\1"))), "no array of numbers, or is cut off"),
    "twice": (lambda: _zip(*[("actor.layer_0.npy", _npy(HUGE | {"shape": (1, 1)}, b"\1"))] * 2), "two entries"),
    "no npy": (lambda: _zip(("actor.layer_0.npy", b"text")), "not an .npz file of arrays"),
    "metadata that are no JSON": (lambda: npz(metadata=np.array("{"), **LAYERS), "metadata are not JSON"),
    "metadata that are no text": (lambda: npz(metadata=np.array(b"\xff"), **LAYERS), "metadata are not UTF-8"),
    "one layer by two names": (
        lambda: npz(**{"a.l": np.ones((1, 1), bool), "a.l.kernel": np.zeros((1, 1), bool)}),
        "two matrices for the layer 'a.l': one is called 'a.l.kernel'",
    ),
    "a task that is no text": (lambda: npz(metadata=np.array('{"task": 3}'), **LAYERS), "task in its metadata is of"),
    "another digest": (lambda: npz(metadata=np.array('{"digest": "0"}'), **LAYERS), "do not match the digest"),
    "half precision": (lambda: _safetensors_of("BF16"), "none of the formats"),
}  # fmt: skip


def _safetensors_of(dtype: str) -> bytes:
    header = json.dumps({"a.b": {"dtype": dtype, "shape": [1, 1], "data_offsets": [0, 2]}}).encode()
    return len(header).to_bytes(8, "little") + header + b"\0\0"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_anything_else_is_refused_with_one_message(content: Callable[[], bytes], message: str, tmp_path: Path) -> None:
    path = tmp_path / "mask.npz"
    path.write_bytes(content())
    with pytest.raises(MaskError, match=message) as refused:
        read_any_mask(path)
    assert str(refused.value).startswith(f"{path} can't be used as a mask: ")
    assert len(str(refused.value)) < 1000


def _padded_to_128(header: dict[str, Any], content: bytes) -> bytes:
    """A file of safetensors that begins with the byte of a pickle."""
    return (128).to_bytes(8, "little") + json.dumps(header).encode().ljust(128) + content


def test_a_length_that_looks_like_a_pickle(tmp_path: Path) -> None:
    path, header = tmp_path / "mask", {"a.b": {"dtype": "BOOL", "shape": [1, 2], "data_offsets": [0, 2]}}
    path.write_bytes(_padded_to_128(header, b"\1\0"))
    assert read_any_mask(path).all_layers["a.b"].tolist() == [[True, False]]
    path.write_bytes(_padded_to_128(header, b"\1"))
    with pytest.raises(MaskError, match=r"none of the formats of masks \(SafetensorError: "):
        read_any_mask(path)


def test_a_pickle_that_would_execute_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mask.npz"
    path.write_bytes(b"\x80\x04cos\nsystem\n\x8c\x04true\x85R.")
    with pytest.raises(MaskError, match="was not executed"):
        read_any_mask(path)


def test_what_would_need_too_much_memory_is_not_decompressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mask.npz"
    path.write_bytes(_compressed())
    monkeypatch.setattr("rlottery.pruning.plain_mask_file.MAX_MASK_BYTES", 200)
    monkeypatch.setattr(zipfile.ZipFile, "open", None)
    with pytest.raises(MaskError, match="more than 200 bytes"):
        read_any_mask(path)
