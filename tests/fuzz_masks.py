"""Coverage-guided fuzzing of the mask reader with atheris; no part of the test suite.

    uv run --with atheris python -m tests.fuzz_masks --runs 1000000
    uv run --with atheris python -m tests.fuzz_masks --target mask --seconds 600 --corpus data/fuzz

For any bytes, the reader raises a MaskError with a printable message, or returns a tree of plain values that is
no larger than the file allows. It takes less than a second of CPU time for 64 KiB, and raises no audit event:
nothing is imported, opened, compiled or started. Anything else is a crash. Crashes are printed once for every
place in the code and saved in the corpus folder, where the next run with this folder tries them again. The run
continues, and ends with exit code 1. An idle core tries some 600 pickles or 250 masks a second.
"""

import argparse
import contextlib
import copy
import hashlib
import inspect
import io
import math
import os
import pickle
import pickletools
import random
import shutil
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from rlottery.errors import MaskError
from rlottery.pruning import inert_pickle, mask_file, masks
from rlottery.pruning.inert_pickle import MAX_OPCODES, MAX_TEXT, read_plain_pickle
from rlottery.pruning.mask_file import mask_from_bytes, mask_to_bytes
from rlottery.pruning.masks import Mask
from tests.pruning.networks import small_mask
from tests.pruning.test_inert_pickle import hostile

try:
    import atheris
except ImportError:
    atheris = None

MAX_LENGTH = 2**16
MAX_SECONDS = 1.0
"""CPU time of one call, under instrumentation."""

BYTES_PER_BYTE = 80
"""Memory of the result for each byte of the file: a list of empty dicts takes 64 and a pointer for each one."""

BYTES_AT_LEAST = 512
MASK_LEAVES = {type(None), bool, int, float, str}
STAND_INS = {inert_pickle._Name, inert_pickle._BoolDtype, inert_pickle._EmptyArray}
PICKLE_LEAVES = MASK_LEAVES | STAND_INS | {bytes, bytearray}

LAYER = np.array([[True], [False]])


def _shortest_argument(opcode: pickletools.OpcodeInfo) -> bytes:
    """Zeros, which mean 0 or something empty; a digit if the argument is a line."""
    if opcode.arg is None:
        return b""
    if opcode.arg.n == pickletools.UP_TO_NEWLINE:
        return {"GLOBAL": b"0\n0\n", "INST": b"0\n0\n", "STRING": b"''\n"}.get(opcode.name, b"0\n")
    widths = {
        pickletools.TAKEN_FROM_ARGUMENT1: 1,
        pickletools.TAKEN_FROM_ARGUMENT4: 4,
        pickletools.TAKEN_FROM_ARGUMENT4U: 4,
        pickletools.TAKEN_FROM_ARGUMENT8U: 8,
    }
    return bytes(widths.get(opcode.arg.n, opcode.arg.n))


# fmt: off
ODD_VALUES = [
    None, True, -1, 2**70, 1.5, math.nan, "", "b1", "x" * 300, "\ud800", "\x1b[2J\n", b"", b"b", bytearray(9),
    (), [], {}, (1, (2, [3])), {"a": {"b": [1]}}, {1: 2}, {"\x1b[2J\n": 1}, {"\ud800": LAYER}, print, np.ndarray,
    LAYER, ~LAYER, LAYER[0], LAYER[:0], LAYER.astype(float), np.bool_(True), np.dtype("bool"),
]
PIECES = [
    *(info.code.encode("latin-1") + _shortest_argument(info) for info in pickletools.opcodes if info.name != "STOP"),
    *(b"h%c" % i for i in range(8)),
    b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"\x8c\x05numpy\x8c\x05dtype\x93", b"\x8c\x02b1", b"K\x02",
    b"\x8c\x02\x1b\n", b"\x8a\xff" + b"\x7f" * 255, b"\x8c\x03\xed\xa0\x80", b"C\x02\x00\x01",
    b"]" * 1500 + b"a" * 1499,
]
# fmt: on
"""Pickle instructions to insert: each opcode with a short argument, references, and what arrays are made of."""

PUSHES = {
    opcode.code.encode("latin-1")
    for opcode in pickletools.opcodes
    if not opcode.stack_before and len(opcode.stack_after) == 1 and opcode.name != "MARK"
}
"""Opcodes that put a value onto the stack: one in the place of another leaves the rest of the file in order."""

VALUES = [piece for piece in PIECES if piece[:1] in PUSHES]


class BrokenPromiseError(Exception):
    """The reader did something that its docstring rules out."""


@dataclass
class Count:
    tried: int = 0
    accepted: int = 0
    refused: int = 0
    crashes: dict[str, int] = field(default_factory=dict)


class AuditEvents:
    """The audit events raised within `with`: imports, files, processes, compiled code."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._on = False
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: object) -> None:
        if self._on:
            self.seen.append(event)

    def __enter__(self) -> None:
        self._on = True

    def __exit__(self, *exception: object) -> None:
        self._on = False


def check(read: Callable[[bytes], object], data: bytes, events: AuditEvents) -> bool:
    """True if `data` was accepted, False if it was refused.

    Raises:
        BrokenPromiseError: or whatever `read` raised besides MaskError.
    """
    events.seen.clear()
    message: str | None = None
    result: object = None
    started = time.process_time()
    try:
        with events:
            result = read(data)
    except MaskError as error:
        message = str(error)
    seconds = time.process_time() - started
    if events.seen:
        raise BrokenPromiseError(f"audit events {', '.join(sorted(set(events.seen)))}")
    if seconds > MAX_SECONDS:
        raise BrokenPromiseError(f"took more than {MAX_SECONDS} s")
    if message is not None:
        if not message.isprintable():
            raise BrokenPromiseError("a message with unprintable characters")
        return False
    if isinstance(result, Mask):
        check_tree({**result.groups, "metadata": result.metadata}, MASK_LEAVES, len(data))
        if zlib.crc32(data) % 8 == 0:  # It takes thrice as long as reading.
            check_written_again(result)
    else:
        check_tree(result, PICKLE_LEAVES, len(data))
    return True


def check_tree(tree: object, leaves: set[type], length: int) -> None:
    """Passes if `tree` holds nothing but containers, bool matrices and `leaves`, each container in one place,
    and is not too large for a file of `length` bytes.
    """
    nodes = size = text = 0
    seen: set[int] = set()
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        nodes += 1
        if id(node) not in seen:
            size += sys.getsizeof(node)
        elif isinstance(node, (dict, list, np.ndarray, bytearray)) or (isinstance(node, tuple) and node):
            raise BrokenPromiseError(f"one {type(node).__name__} in two places")
        seen.add(id(node))
        if type(node) is str:
            text += len(node)
        elif type(node) is dict:
            if any(type(key) is not str for key in node):
                raise BrokenPromiseError("a key that is no string")
            waiting += [*node, *node.values()]
        elif type(node) is list or type(node) is tuple:
            waiting += node
        elif type(node) is np.ndarray:
            size += node.nbytes
            plain = node.dtype == np.bool_ and node.ndim == 2 and node.size > 0 and node.view(np.uint8).max() <= 1
            if not plain or node.flags.writeable or not node.flags.c_contiguous:
                raise BrokenPromiseError("an array that is no read-only bool matrix")
        elif type(node) not in leaves:
            raise BrokenPromiseError(f"a result with a {type(node).__name__}")
    if nodes > length or text > MAX_TEXT or size > BYTES_PER_BYTE * length + BYTES_AT_LEAST:
        raise BrokenPromiseError("a result larger than the file allows")


def check_written_again(mask: Mask) -> None:
    """Passes if writing and reading give the same mask, or the mask is too large for other ways to write it."""
    try:
        again = mask_from_bytes(mask_to_bytes(mask), "written again")
    except MaskError as error:
        if "more than" in str(error):
            return
        raise BrokenPromiseError(f"an accepted mask that can't be written: {error}") from error
    layers = [[(path, m.shape, m.tobytes()) for path, m in x.all_layers.items()] for x in (mask, again)]
    if layers[0] != layers[1] or ascii(mask.metadata) != ascii(again.metadata):
        raise BrokenPromiseError("a mask that changes when it is written again")


def seeds() -> Iterator[bytes]:
    """Mask files in every spelling that is read, plain values, and files that must be refused."""
    names: dict[str, Any] = {"task": "t", "seed": 0, "method": "m", "criterion": "c", "estimator": None}
    shares = {"actor": 0.5, "critic": 0.5}
    tiny = masks.make_mask(
        {"actor": {"a": LAYER}, "critic": {"b": LAYER.T.copy()}}, **names, sparsity=shares, fingerprint={}
    )
    yield mask_to_bytes(tiny)
    for protocol in (3, 4, 5):
        yield (data := pickle.dumps(pickle.loads(mask_to_bytes(tiny)), protocol))
        yield _as_numpy_1(data)
    yield mask_to_bytes(small_mask())
    for value in ODD_VALUES:
        yield from (pickle.dumps([value, {"a": value}], protocol) for protocol in (3, 4))
    for value, _ in hostile(Path("sentinel")).values():
        yield from (pickle.dumps(value, protocol) for protocol in (3, 4, 5))


def slow_inputs() -> Iterator[bytes]:
    """What takes the readers longest for its 64 KiB; tried once, for what is made from it would be as slow."""
    for piece in (b"N", b"}", b"]", b")", b"\x85", b"(t", b"h\0", b"\x94", b"(", b"K\0\x85"):
        for times in (MAX_OPCODES - 9, MAX_OPCODES + 9):
            yield b"](\x8c\x01x\x94" + piece * min(times, (MAX_LENGTH - 9) // len(piece)) + b"e."
    mask = small_mask()
    for fingerprint in ({"x": list(range(9000))}, {f"{i}": i for i in range(5000)}, {"x": "\ud800" * 20_000}):
        yield mask_to_bytes(replace(mask, metadata=mask.metadata | {"fingerprint": fingerprint}))


def _as_numpy_1(data: bytes) -> bytes:
    """NumPy 1's names in a pickle of NumPy 2, lengths in front of them included."""
    for module in (b"numpy._core.multiarray", b"numpy._core.numeric"):
        older = module.replace(b"_core", b"core")
        data = data.replace(b"%c%b" % (len(module), module), b"%c%b" % (len(older), older)).replace(module, older)
    return data


class Mutator:
    """Makes new inputs: of pickle instructions, and of masks whose digest and checksum are right."""

    def __init__(self, pool: list[bytes], whole_masks: bool) -> None:
        """`pool`: files to splice from, the first of them a mask."""
        self.pool = pool
        self.whole_masks = whole_masks
        self.accepted = pool[:1]

    def note_accepted(self, data: bytes) -> None:
        """Most of what libFuzzer keeps is refused; half of the new inputs come from something that was not."""
        if len(data) < 1000:
            self.accepted.append(data)
        if len(self.accepted) > 1000:
            del self.accepted[random.randrange(1000)]

    def __call__(self, data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < 0.5:
            data = rng.choice(self.accepted)
        if self.whole_masks and rng.random() < 0.7:
            # Content that pickle itself can't write: too deep, or a stand-in with odd parts.
            with contextlib.suppress(Exception):
                data = self._other_mask(data, rng)
                if rng.random() < 0.9:
                    return data[:max_size]
        if rng.random() < 0.15:
            return bytes(atheris.Mutate(data, max_size))
        *pieces, stop = split(data)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            self._edit_instructions(pieces, rng)
        return b"".join(pieces)[: max_size - len(stop)] + stop

    def _edit_instructions(self, pieces: list[bytes], rng: random.Random) -> None:
        start, other = rng.randrange(len(pieces) + 1), rng.randrange(len(pieces) + 1)
        end = min(len(pieces), start + rng.choice((1, 1, 2, 4, 16)))
        match rng.randrange(12):
            case 0:
                pieces[other:other] = pieces[start:end]
            case 1:
                del pieces[start:end]
            case 2:
                pieces[start:end] = pieces[start:end][::-1]
            case 3:
                pieces.insert(start, rng.choice(PIECES))
            case 4:
                donor = split(rng.choice(self.pool))
                place = rng.randrange(len(donor))
                pieces[start:end] = donor[place : place + rng.choice((1, 2, 4, 16))]
            case 5 | 6:
                kept = rng.randrange(2)  # of each piece: its opcode or nothing
                pieces[start:end] = [p[:kept] + atheris.Mutate(p[kept:], len(p) + 8) for p in pieces[start:end]]
            case 7:
                times = rng.choice((2, 9, 99)) if rng.random() < 0.995 else rng.choice((9_999, 60_000))
                pieces[start:end] = pieces[start:end] * min(times, 1 + MAX_LENGTH // len(b"".join(pieces) + b"x"))
            case _:
                values = [i for i, piece in enumerate(pieces) if piece[:1] in PUSHES]
                if values:
                    pieces[rng.choice(values)] = rng.choice((rng.choice(VALUES), pieces[rng.choice(values)]))

    def _other_mask(self, data: bytes, rng: random.Random) -> bytes:
        try:
            content: Any = read_plain_pickle(data)
        except MaskError:
            content = pickle.loads(self.pool[0])
        for _ in range(rng.choice((0, 1, 1, 2, 4))):
            _edit_tree(content, rng)
        _repair(content, rng)
        protocol = rng.choice((3, 4, 5))
        stream = io.BytesIO()
        rng.choice((pickle.Pickler, mask_file._PortablePickler))(stream, protocol).dump(content)
        return stream.getvalue()


def split(data: bytes) -> list[bytes]:
    """`data` in pieces of one instruction each; what can't be parsed belongs to the last one."""
    starts = [0]
    with contextlib.suppress(Exception):
        starts += [position for _, _, position in pickletools.genops(data) if position]
    return [data[start:end] for start, end in zip(starts, [*starts[1:], len(data)], strict=True)]


def _edit_tree(tree: object, rng: random.Random) -> None:
    """Changes one place of the dicts and lists in `tree`."""
    places: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (dict, list)):
            found = [(node, key) for key in (node if isinstance(node, dict) else range(len(node)))]
            places += found
            waiting += [owner[key] for owner, key in found]
    owner, key = rng.choice(places)
    value, other = owner[key], copy.deepcopy(rng.choice(ODD_VALUES))
    match rng.randrange(6):
        case 0:
            del owner[key]
        case 1:
            owner[key] = other
        case 2 if isinstance(owner, dict):
            owner[rng.choice(("", "a", "z", f"{key}.0", "\x1b"))] = copy.deepcopy(value)
        case 3 if isinstance(owner, dict):
            owner[key] = owner.pop(key)
        case 4 if isinstance(value, np.ndarray):
            owner[key] = rng.choice((~value, value.T.copy(), value.reshape(1, -1), value[:1], np.tile(value, (2, 3))))
        case _:
            owner[key] = rng.choice(([value], (value,), {"a": value}, [value, other], copy.deepcopy(value)))


def _repair(content: Any, rng: random.Random) -> None:
    """Makes layers, digest and checksum fit, each in most cases: that any of it is possible is not sure."""
    metadata = content["metadata"]
    groups = {group: content[group] for group in ("actor", "critic")}
    if rng.random() < 0.95:
        metadata["layers"] = {group: masks.layer_counts(layers) for group, layers in groups.items()}
    if rng.random() < 0.95:
        metadata["digest"] = masks.digest(Mask(groups, {}))
    if rng.random() < 0.95:
        metadata.pop("checksum", None)
        metadata["checksum"] = mask_file._checksum(metadata)


def _instrument() -> None:
    """Has atheris count the branches that the readers take; without comparisons, which would halve the speed."""
    functions = [opcode.arg.reader for opcode in pickletools.opcodes if opcode.arg]
    for module in (inert_pickle, mask_file, masks):
        owners = [module, *(c for _, c in inspect.getmembers(module, inspect.isclass))]
        found = [f for owner in owners for _, f in inspect.getmembers(owner, inspect.isfunction)]
        functions += [f for f in found if f.__code__.co_filename == module.__file__]
    for function in functions:
        function.__code__ = atheris.patch_code(function.__code__, trace_dataflow=False)


def fuzz(target: str, runs: float, seconds: float, corpus: Path, keep: bool) -> None:
    """Fuzzes until `runs` or `seconds` are over, prints the counts and ends the process."""
    pool = [data for data in seeds() if len(data) <= MAX_LENGTH]
    for data in pool:
        (corpus / f"seed-{hashlib.sha1(data).hexdigest()[:12]}").write_bytes(data)
    _instrument()
    mutator = Mutator(pool, whole_masks=target == "mask")
    count, events, started = Count(), AuditEvents(), time.monotonic()

    def read(data: bytes) -> object:
        return read_plain_pickle(data) if target == "pickle" else mask_from_bytes(data, "it")

    def try_one(data: bytes) -> None:
        count.tried += 1
        try:
            accepted = check(read, data, events)
            count.accepted += accepted
            count.refused += not accepted
            if accepted:
                mutator.note_accepted(data)
        except Exception as error:
            kind = f"{type(error).__name__} at line {traceback.extract_tb(error.__traceback__)[-1].lineno}: {error}"
            if kind not in count.crashes:
                path = corpus / f"crash-{hashlib.sha1(data).hexdigest()[:12]}"
                path.write_bytes(data)
                print(f"{traceback.format_exc()}input: {path}: {data[:300]!a}", file=sys.stderr)
            count.crashes[kind] = count.crashes.get(kind, 0) + 1
        if count.tried >= runs or time.monotonic() - started >= seconds:
            end()

    def end() -> None:
        print(
            f"{target}: {count.tried} inputs, {count.accepted} accepted, {count.refused} refused, "
            f"{sum(count.crashes.values())} crashes of {len(count.crashes)} kinds, "
            f"{time.monotonic() - started:.0f} s, {len(list(corpus.iterdir()))} files in the corpus"
        )
        if not keep and not count.crashes:
            shutil.rmtree(corpus)
        sys.stdout.flush()
        os._exit(1 if count.crashes else 0)  # libFuzzer's own way out skips Python's as well.

    for data in slow_inputs():
        try_one(data)
    options = [f"-max_len={MAX_LENGTH}", "-timeout=20", "-rss_limit_mb=2048", f"-artifact_prefix={corpus}/crash-"]
    atheris.Setup([sys.argv[0], str(corpus), *options], try_one, custom_mutator=mutator)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--target", choices=("pickle", "mask"), default="pickle", help="which reader")
    parser.add_argument("--runs", type=int, help="end after so many inputs (1000000 if --seconds is not given)")
    parser.add_argument("--seconds", type=float, default=math.inf, help="end after so long")
    parser.add_argument("--corpus", type=Path, help="a folder of inputs to begin with, which grows")
    given = parser.parse_args()
    if atheris is None:
        print("atheris is missing: uv run --with atheris python -m tests.fuzz_masks", file=sys.stderr)
        return 2
    corpus = given.corpus or Path(tempfile.mkdtemp(prefix="fuzz_masks_"))
    corpus.mkdir(parents=True, exist_ok=True)
    runs = given.runs or (1_000_000 if given.seconds == math.inf else math.inf)
    fuzz(given.target, runs, given.seconds, corpus, keep=given.corpus is not None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
