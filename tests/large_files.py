"""How much memory the worst files of the largest sizes take that are read, each in a process of its own.

    uv run python -m tests.large_files

SECURITY.md says how much that may be: BASE, and FACTOR times the size of the file. Exit code 1 if one takes more.
"""

import io
import json
import os
import pickle
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from rlottery.analysis.runs import _evaluations
from rlottery.config import load_config
from rlottery.errors import RlotteryError
from rlottery.export.policy import MAX_POLICY_BYTES, load_agent
from rlottery.pruning.inert_pickle import MAX_OPCODES
from rlottery.pruning.mask_file import MAX_MASK_BYTES, mask_to_bytes, read_mask
from rlottery.pruning.masks import make_mask
from rlottery.storage.disk import MAX_HEADER_BYTES, read_arrays
from rlottery.storage.manifests import MAX_MANIFEST_BYTES, MAX_MANIFEST_VALUES, read_manifest
from rlottery.storage.metrics_log import MAX_LINE_BYTES, MOST_LINE_VALUES
from rlottery.storage.paths import RunFiles
from rlottery.training.replay_buffer import load_replay

BASE, FACTOR = 200 * 2**20, 12
"""Bytes that reading any file may take, and bytes for each byte of the file."""

LAYER = np.zeros((2, 1), bool)


def repeated(text: bytes, size: int) -> bytes:
    """The text, as often as it fits."""
    return text * (size // len(text))


def metrics(folder: Path) -> None:
    """Read the evaluations of a run."""
    _evaluations(RunFiles(folder))


def manifest(folder: Path) -> None:
    """Read the manifest of a run."""
    read_manifest(RunFiles(folder))


def rows(*, episodes: int, number: int) -> bytes:
    """Evaluations with returns that are as short as they can be."""
    returns = ",".join("1" * episodes)
    return b"".join(
        b'{"kind": "evaluation", "env_steps": %d, "return": 1, "returns": [%s]}\n' % (step, returns.encode())
        for step in range(number)
    )


def arrays(header: bytes) -> bytes:
    """A safetensors file with this header."""
    return len(header).to_bytes(8, "little") + header


def large_mask() -> bytes:
    """A mask of nearly the largest size."""
    kept = np.ones((MAX_MASK_BYTES // 2**14 - 1, 2**14), bool)
    names = {"task": "t", "seed": 0, "method": "m", "criterion": "c", "estimator": None}
    shares = {"actor": 0.0, "critic": 0.5}
    groups = {"actor": {"a": kept}, "critic": {"b": LAYER.copy()}}
    return mask_to_bytes(make_mask(groups, **names, sparsity=shares, fingerprint={}))


def bomb() -> bytes:
    """A small archive that becomes a large array."""
    stream, array = io.BytesIO(), io.BytesIO()
    np.save(array, np.zeros(MAX_POLICY_BYTES // 4 - 1_000, np.float32))
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("layer_0.bias.npy", array.getvalue())
    return stream.getvalue()


def directory() -> bytes:
    """An archive with a million empty files."""
    entry = b"PK\1\2" + bytes(42)
    size = 46 * 10**6
    return entry * 10**6 + b"PK\5\6" + bytes(8) + size.to_bytes(4, "little") + bytes(6)


TEXT = "\N{SNOWMAN}\N{PILE OF POO}".encode()
_Case = tuple[str, Callable[[], bytes], Callable[[Path], object]]


def cases() -> Iterator[tuple[str, *_Case]]:
    """What it is, the file's name, its content, and what reads it; the file, or the folder that it is in."""
    size = MAX_MANIFEST_BYTES - 100
    few = MAX_MANIFEST_VALUES - 100
    yield "newlines", "metrics.jsonl", lambda: b"\n" * (200 * 2**20), metrics
    yield "a long line", "metrics.jsonl", lambda: b"x" * (200 * 2**20), metrics
    yield "evaluations", "metrics.jsonl", lambda: rows(episodes=30, number=100_000), metrics
    yield "too many evaluations", "metrics.jsonl", lambda: rows(episodes=1, number=400_000), metrics
    yield "long evaluations", "metrics.jsonl", lambda: rows(episodes=MOST_LINE_VALUES - 9, number=100), metrics
    yield "a line of lists", "metrics.jsonl", lambda: b"[" + repeated(b"[],", MAX_LINE_BYTES - 9) + b"1]\n", metrics
    yield "a line of numbers", "metrics.jsonl", lambda: b"[" + b"1," * MOST_LINE_VALUES + b"1]\n", metrics
    yield "lists", "manifest.json", lambda: b'{"a":[' + repeated(b"[],", size) + b"1]}", manifest
    yield "fewer lists", "manifest.json", lambda: b'{"a":[' + b"[]," * (few // 2) + b"1]}", manifest
    yield "mappings", "manifest.json", lambda: b'{"a":[' + b'{"a":1},' * (few // 2) + b"1]}", manifest
    yield "text", "manifest.json", lambda: b'{"format_version":2,"a":"' + repeated(TEXT, size) + b'"}', manifest
    yield "keys", "manifest.json", lambda: json.dumps({f"{i}": i for i in range(few)}).encode()[:size], manifest
    yield "one number", "manifest.json", lambda: b"1" * size, manifest
    yield (
        "names",
        "x.safetensors",
        lambda: arrays(repeated(b'"a":[],', MAX_HEADER_BYTES).join((b"{", b"}"))),
        read_arrays,
    )
    yield "lists in a header", "x.safetensors", lambda: arrays(b"[" + repeated(b"[],", 2**22 - 9) + b"1]"), read_arrays
    yield "a long header", "x.safetensors", lambda: arrays(b" " * (200 * 2**20)), read_arrays
    yield "a large mask", "mask.pkl", large_mask, read_mask
    yield "a mask of text", "mask.pkl", lambda: pickle.dumps(["x" * 2**20] * 3), read_mask
    yield "many lists", "mask.pkl", lambda: b"\x80\x04(" + b"]" * (MAX_OPCODES - 9) + b"t.", read_mask
    yield (
        "bytes",
        "mask.pkl",
        lambda: b"\x80\x04B" + (2**28 - 99).to_bytes(4, "little") + bytes(2**28 - 99) + b".",
        read_mask,
    )
    yield "values", "config.yaml", lambda: b"a: [" + b"1," * 19_000 + b"]", load_config
    yield "too many values", "config.yaml", lambda: b"a: [" + repeated(b"1,", 2**20 - 99) + b"]", load_config
    yield "mappings", "config.yaml", lambda: b"a: [" + b"{a: {}}," * 6_000 + b"]", load_config
    yield "words", "config.yaml", lambda: b"a: " + repeated(b"x ", 2**20 - 99), load_config
    yield "brackets", "config.yaml", lambda: b"a: " + b"[" * (2**20 - 99), load_config
    yield "comments", "config.yaml", lambda: repeated(b"#\n", 2**20 - 99), load_config
    yield "an archive of zeros", "policy.npz", bomb, load_agent
    yield "a directory", "policy.npz", directory, load_agent
    yield (
        "a header",
        "rewards.npy",
        lambda: b"\x93NUMPY\1\0\xff\xff" + repeated(b"[", 65535),
        lambda path: load_replay(path.parent),
    )


def peak() -> int:
    """The most memory of this process so far, in bytes."""
    # Not `getrusage`, which begins with the peak of the process that has started this one.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def measure(number: int, path: Path) -> int:
    """Read the file of a case. Returns the memory that it took beyond what was taken before."""
    *_, read = list(cases())[number]
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again at the present size
    before = peak()
    try:
        read(path.parent if read in (metrics, manifest) else path)
    except RlotteryError as error:
        print(f"  {str(error).removeprefix(str(path))[:90]!a}", flush=True)
    return peak() - before


def main() -> int:
    if len(sys.argv) == 3:
        print(measure(int(sys.argv[1]), Path(sys.argv[2])))
        return 0
    excess = 0
    for number, (what, name, content, _) in enumerate(cases()):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name)
            path.write_bytes(content())
            size = path.stat().st_size
            child = subprocess.run(
                [sys.executable, "-m", "tests.large_files", str(number), str(path)],
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, "MALLOC_ARENA_MAX": "1"},
            )
        *said, last = child.stdout.splitlines() or ["", child.stderr[-300:]]
        taken = int(last) if last.isdecimal() else 2**62
        # A policy is the one file that is compressed: its limit is that of what it holds.
        most = BASE + FACTOR * size + (2 * MAX_POLICY_BYTES if name.endswith(".npz") else 0)
        excess += taken > most
        over = "" if taken <= most else f"  MORE than {most / 1e6:,.0f} MB {last[:300]}"
        print(f"{name:16} {what:24} {size / 1e6:9.2f} MB takes {taken / 1e6:9.1f} MB{over}{''.join(said)}", flush=True)
    return 1 if excess else 0


if __name__ == "__main__":
    sys.exit(main())
