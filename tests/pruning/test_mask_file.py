import dataclasses
import io
import math
import os
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlottery.errors import MaskError
from rlottery.pruning import mask_file
from rlottery.pruning.mask_file import mask_from_bytes, mask_to_bytes, read_mask
from rlottery.pruning.masks import Mask, digest, make_mask
from tests.pruning.networks import network, small_mask

MASK = small_mask()
DATA = mask_to_bytes(MASK)


def same(a: Mask, b: Mask) -> bool:
    """Same layers in the same order, same bits, same metadata with types."""

    def parts(mask: Mask) -> list[object]:
        return [(path, m.dtype, m.shape, m.tobytes()) for path, m in mask.all_layers.items()]

    return parts(a) == parts(b) and repr(a.metadata) == repr(b.metadata)


def content() -> dict[str, Any]:
    loaded: dict[str, Any] = pickle.loads(DATA)
    return loaded


class TestPlainPickle:
    def test_loads_with_nothing_but_numpy(self) -> None:
        loaded = content()
        assert set(loaded) == {"actor", "critic", "metadata"}
        for group in ("actor", "critic"):
            for path, layer in loaded[group].items():
                expected = MASK.groups[group][path]
                assert type(layer) is np.ndarray
                assert layer.dtype == np.bool_
                assert layer.flags.writeable
                np.testing.assert_array_equal(layer, expected)
        checksum = loaded["metadata"].pop("checksum")
        assert len(checksum) == 64
        assert loaded["metadata"] == MASK.metadata

    def test_names_only_what_every_numpy_has_in_public(self) -> None:
        class Recorder(pickle.Unpickler):
            def find_class(self, module: str, name: str) -> Any:
                found.add(f"{module}.{name}")
                return super().find_class(module, name)

        found: set[str] = set()
        Recorder(io.BytesIO(DATA)).load()
        assert found == {"numpy.ndarray", "numpy.dtype"}

    def test_holds_only_opcodes_of_python_3_4(self) -> None:
        assert max(opcode.proto for opcode, _, _ in pickletools.genops(DATA)) <= 4

    @pytest.mark.parametrize("protocol", [3, 4, 5])
    def test_a_copy_that_python_itself_wrote_is_read(self, protocol: int) -> None:
        assert same(mask_from_bytes(pickle.dumps(content(), protocol), "copy"), MASK)


class TestRoundTrip:
    def test_gives_the_mask_back(self) -> None:
        assert same(mask_from_bytes(DATA, "here"), MASK)

    def test_equal_masks_have_equal_bytes_wherever_their_names_come_from(self) -> None:
        def copied(value: Any) -> Any:
            return {f"{key} "[:-1]: copied(item) for key, item in value.items()} if isinstance(value, dict) else value

        keys = ("task", "seed", "method", "criterion", "estimator", "fingerprint")
        rest = {key: MASK.metadata[key] for key in keys}
        made = make_mask(copied(MASK.groups), sparsity=copied(MASK.metadata["sparsity_asked"]), **rest)
        assert mask_to_bytes(made) == DATA

    def test_arrays_are_read_only(self) -> None:
        layer = mask_from_bytes(DATA, "here").groups["actor"]["layer_0"]
        with pytest.raises(ValueError, match="read-only"):
            layer[0, 0] = True

    def test_shared_and_transposed_parts(self) -> None:
        shared_list = [1, 2]
        layer = np.asfortranarray(np.array([[True, False, True], [True, True, False]]))
        metadata = small_mask().metadata | {"fingerprint": {"a": shared_list, "b": shared_list}}
        with pytest.raises(MaskError, match="C-ordered"):
            mask_to_bytes(Mask({"actor": {"x": layer}, "critic": {"y": layer}}, metadata))
        layer = np.ascontiguousarray(layer)
        mask = Mask({"actor": {"x": layer}, "critic": {"y": layer}}, metadata)
        metadata["digest"] = digest(mask)
        metadata["layers"] = {"actor": {"x": [4, 6]}, "critic": {"y": [4, 6]}}
        assert same(mask_from_bytes(mask_to_bytes(mask), "here"), mask)

    @pytest.mark.parametrize(
        ("metadata", "message"),
        [
            ({"seed": np.int64(1)}, r"metadata\['seed'\] is of type int64, not a plain value"),
            ({"fingerprint": {"x": {1: 2}}}, r"metadata\['fingerprint'\]\['x'\] has a key of type int"),
            ({"fingerprint": {"path": Path("x")}}, r"\['path'\] is of type PosixPath"),
            ({"digest": "0" * 64}, "corrupt"),
            ({"task": None}, r"metadata\['task'\] is of type NoneType"),
            ({"fingerprint": {"text": "x" * 2**20}}, "more than 1048576 characters"),
        ],
    )
    def test_what_could_not_be_read_is_not_written(self, metadata: dict[str, Any], message: str) -> None:
        with pytest.raises(MaskError, match=message):
            mask_to_bytes(dataclasses.replace(MASK, metadata=MASK.metadata | metadata))

    def test_metadata_that_hold_themselves(self) -> None:
        loop: dict[str, Any] = {}
        loop["again"] = loop
        with pytest.raises(MaskError, match="nested more than 16 deep"):
            mask_to_bytes(dataclasses.replace(MASK, metadata=MASK.metadata | {"fingerprint": loop}))


def _edit(change: Callable[[dict[str, Any]], object]) -> bytes:
    edited = content()
    change(edited)
    return pickle.dumps(edited, 4)


def _resigned(change: Callable[[dict[str, Any]], object]) -> bytes:
    """As `_edit`, with the checksum of the changed metadata."""
    edited = content()
    change(edited)
    del edited["metadata"]["checksum"]
    edited["metadata"]["checksum"] = mask_file._checksum(edited["metadata"])
    return pickle.dumps(edited, 4)


class TestOrder:
    """JAX gives dicts back in the order of their keys: layer_10 before layer_2."""

    KERNELS = network(3, *[4] * 11, 2)
    MASK = make_mask({"actor": {path: kernel > 0 for path, kernel in KERNELS.items()}}, task="t", seed=0)
    BY_NAME: ClassVar = dict(sorted(MASK.groups["actor"].items()))

    def test_of_a_file_in_the_order_of_names(self) -> None:
        assert list(self.BY_NAME)[2] == "layer_10"
        written = pickle.loads(mask_to_bytes(self.MASK))
        written["actor"] = self.BY_NAME
        written["metadata"]["layers"]["actor"] = dict(sorted(written["metadata"]["layers"]["actor"].items()))
        del written["metadata"]["checksum"]
        written["metadata"]["checksum"] = mask_file._checksum(written["metadata"])
        read = mask_from_bytes(pickle.dumps(written, 4), "x")
        assert same(read, self.MASK)
        assert list(read.metadata["layers"]["actor"]) == list(self.KERNELS)
        assert same(mask_from_bytes(mask_to_bytes(read), "x"), self.MASK)

    def test_of_the_layers_alone(self) -> None:
        turned = _edit(lambda c: c.update(actor=dict(reversed(c["actor"].items()))))
        assert same(mask_from_bytes(turned, "x"), MASK)

    def test_of_a_mask_that_is_made(self) -> None:
        assert same(make_mask({"actor": self.BY_NAME}, task="t", seed=0), self.MASK)

    def test_names_without_numbers_keep_their_order(self) -> None:
        layers = {"in": np.ones((2, 3), bool), "hidden": np.ones((3, 3), bool), "a_out": np.ones((3, 1), bool)}
        mask = make_mask({"actor": layers}, task="t", seed=0)
        assert list(mask_from_bytes(mask_to_bytes(mask), "x").groups["actor"]) == list(layers)
        turned = pickle.loads(mask_to_bytes(mask))
        turned["actor"] = dict(sorted(turned["actor"].items()))
        with pytest.raises(MaskError, match="corrupt: its layers"):
            mask_from_bytes(pickle.dumps(turned, 4), "x")


class TestStrictness:
    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"", "it is empty"),
            (b"garbage", "it is not a pickle of protocol 3, 4 or 5"),
            (pickle.dumps(content(), 2), "it is not a pickle of protocol 3, 4 or 5"),
            (b"PK\x03\x04" + DATA, "it is not a pickle of protocol 3, 4 or 5"),
            (pickle.dumps([1, 2]), "contains a list, not a dict"),
            (_edit(lambda c: c.pop("actor")), "no key 'actor'"),
            (_edit(lambda c: c.pop("metadata")), "no key 'metadata'"),
            (_edit(lambda c: c.update(extra=1)), "other keys than metadata and its groups: 'extra'"),
            (_edit(lambda c: c.update({"\x1b[2J\ud800": 1})), r"groups: '\\x1b\[2J\\ud800'"),
            (_edit(lambda c: c.update(metadata=[])), "'metadata' contains a list"),
            (_edit(lambda c: c.update(actor=[])), "actor is not a dict of layer masks"),
            (_edit(lambda c: c.update(actor={})), "actor is not a dict of layer masks"),
            (_edit(lambda c: c["actor"].update(layer_0=[True])), "actor: layer 'layer_0' is of type list"),
            (_edit(lambda c: c["metadata"].pop("digest")), r"no metadata\['digest'\]"),
            (_edit(lambda c: c["metadata"].pop("checksum")), r"no metadata\['checksum'\]"),
            (_edit(lambda c: c["metadata"].update(format_version=2)), "format_version 2, not 1"),
            (_edit(lambda c: c["metadata"].update(seed=1)), "corrupt or was edited"),
            (_edit(lambda c: c["metadata"].update(seed="0")), r"metadata\['seed'\] is of type str"),
            (_edit(lambda c: c["metadata"].update(digest="0" * 64)), "corrupt: its weights"),
            (_edit(lambda c: c["actor"].update(layer_0=~c["actor"]["layer_0"])), "corrupt: its weights"),
            (_edit(lambda c: c["metadata"]["layers"]["actor"].update(layer_0=[1, 24])), "corrupt or was edited"),
            (_resigned(lambda c: c["metadata"]["layers"]["actor"].update(layer_0=[1, 24])), "corrupt: its layers"),
            (_resigned(lambda c: c["metadata"]["layers"].update(actor=[])), r"metadata\['layers'\] is not a dict of"),
            (_resigned(lambda c: c["metadata"]["sparsity_asked"].pop("actor")), r"sparsity_asked'\] doesn't have a fl"),
            *(
                (
                    _resigned(lambda c, x=x: c["metadata"]["sparsity_reached"].update(actor=x)),
                    r"reached'\] doesn't have",
                )
                for x in ("x", 1, -0.5, 1.5, math.nan)
            ),
            (
                _edit(lambda c: c["metadata"].update(fingerprint={"x": b"bytes"})),
                "of type bytes, not a plain value",
            ),
        ],
    )
    def test_other_content_is_refused(self, data: bytes, message: str) -> None:
        with pytest.raises(MaskError, match=message) as caught:
            mask_from_bytes(data, "data/masks/x.pkl")
        assert str(caught.value).isprintable()
        assert str(caught.value).startswith("data/masks/x.pkl can't be used as a mask: ")
        assert str(caught.value).endswith("`rlottery run --stages mask`, or see docs/mask-files.md.")

    def test_a_call_hidden_in_a_good_mask_is_not_executed(self, tmp_path: Path) -> None:
        class Touch:
            def __reduce__(self) -> Any:
                return os.system, (f"touch {tmp_path / 'sentinel'}",)

        data = _edit(lambda c: c["metadata"].update(task=Touch()))
        with pytest.raises(MaskError, match="system', which no mask needs and which was not executed"):
            mask_from_bytes(data, "x")
        assert not (tmp_path / "sentinel").exists()

    def test_every_truncation(self) -> None:
        for length in range(len(DATA)):
            with pytest.raises(MaskError):
                mask_from_bytes(DATA[:length], "x")
        with pytest.raises(MaskError, match="data after its end"):
            mask_from_bytes(DATA + b".", "x")

    def test_every_flipped_bit_is_refused_or_harmless(self) -> None:
        refused = 0
        for index in range(len(DATA)):
            flipped = bytearray(DATA)
            flipped[index] ^= 1 << index % 8
            refused += is_refused_or_the_same(bytes(flipped))
        assert refused > 0.9 * len(DATA)

    @given(data=st.binary(max_size=200))
    def test_random_bytes(self, data: bytes) -> None:
        assert is_refused_or_the_same(data)

    @given(
        edits=st.lists(
            st.tuples(st.integers(0, len(DATA)), st.integers(0, 8), st.binary(max_size=8)),
            min_size=1,
            max_size=4,
        )
    )
    def test_random_damage(self, edits: list[tuple[int, int, bytes]]) -> None:
        damaged = DATA
        for start, removed, inserted in edits:
            damaged = damaged[:start] + inserted + damaged[start + removed :]
        is_refused_or_the_same(damaged)

    @given(st.lists(st.sampled_from([bytes([i]) for i in range(256)] + [b"numpy", b"\n", b"K\x01"]), max_size=60))
    def test_random_programs(self, instructions: list[bytes]) -> None:
        assert is_refused_or_the_same(b"".join(instructions))


def is_refused_or_the_same(data: bytes) -> bool:
    """True if refused with a MaskError; any other error, or another mask, fails the test."""
    try:
        mask = mask_from_bytes(data, "x")
    except MaskError:
        return True
    assert same(mask, MASK)
    return False


class TestReadMask:
    def test_reads_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "mask.pkl").write_bytes(DATA)
        assert same(read_mask(tmp_path / "mask.pkl"), MASK)

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(MaskError, match=r"no mask at .*mask.pkl. Make the mask again: create_ticket=True"):
            read_mask(tmp_path / "mask.pkl")

    def test_a_folder_and_a_pipe(self, tmp_path: Path) -> None:
        with pytest.raises(MaskError, match="not a regular file"):
            read_mask(tmp_path)
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(MaskError, match="not a regular file"):
            read_mask(tmp_path / "pipe")

    def test_unreadable(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        for path in (tmp_path / "file" / "mask.pkl", tmp_path / ("x" * 300), Path("null\0character")):
            with pytest.raises(MaskError, match="can't be read"):
                read_mask(path)

    def test_too_large(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "mask.pkl").write_bytes(DATA)
        monkeypatch.setattr(mask_file, "MAX_MASK_BYTES", len(DATA) - 1)
        with pytest.raises(MaskError, match=f"more than {len(DATA) - 1:,} bytes"):
            read_mask(tmp_path / "mask.pkl")
