"""The folder of compiled programs. What a child process does with it is real: JAX's settings outlast a test."""

import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from rlottery.processes.children import child_environment
from rlottery.storage import user_cache
from rlottery.training import program_cache

NOW = 1_900_000_000.0
PROGRAM = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
import jax, numpy as np
from rlottery.training.program_cache import use_program_cache
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append(event.rpartition("/")[2] == "cache_hits"))
use_program_cache()
answer = jax.jit(lambda x: x * 2.0 + 1.0)(np.float32(3.0))
print(json.dumps([float(answer), sum(hits), jax.config.jax_compilation_cache_dir]))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("time.time", lambda: NOW)
    return tmp_path


def entry(folder: Path, name: str, content: bytes, age: float) -> Path:
    path = folder / f"{name}-cache"
    path.write_bytes(content)
    os.utime(path, (NOW - age, NOW - age))
    return path


def in_process(**variables: str) -> tuple[float, int, str | None]:
    """The program's result, how many programs were loaded, and JAX's folder for them, in a process like a worker."""
    kept = {name: value for name, value in child_environment().items() if not name.startswith("JAX_")}
    environment = kept | {"JAX_PLATFORMS": "cpu"} | variables
    ran = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    answer, hits, used = json.loads(ran.stdout)
    return answer, hits, used


def test_a_later_process_loads_what_an_earlier_one_has_compiled(tmp_path: Path) -> None:
    answer, hits, used = in_process(XDG_CACHE_HOME=str(tmp_path))
    assert (answer, hits) == (7.0, 0) and used is not None
    made = Path(used)
    assert made.parent == tmp_path / "rlottery" and made.stat().st_mode & 0o777 == 0o700
    entries = list(made.glob("*-cache"))
    assert len(entries) == 1
    assert in_process(XDG_CACHE_HOME=str(tmp_path))[:2] == (7.0, 1)

    entries[0].write_bytes(entries[0].read_bytes()[:-20])  # a process was killed while writing, a while ago
    os.utime(entries[0], (1.0, 1.0))
    (made / "checked").unlink()
    assert in_process(XDG_CACHE_HOME=str(tmp_path))[:2] == (7.0, 0)
    assert in_process(XDG_CACHE_HOME=str(tmp_path))[:2] == (7.0, 1)


def test_caches_of_the_user_and_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    own = str(tmp_path / "own")
    assert in_process(XDG_CACHE_HOME=str(tmp_path), JAX_COMPILATION_CACHE_DIR=own)[2] == own
    assert in_process(XDG_CACHE_HOME=str(tmp_path), JAX_ENABLE_COMPILATION_CACHE="0")[2] is None
    assert not (tmp_path / "rlottery").exists()
    used = in_process(XDG_CACHE_HOME=str(tmp_path))[2]
    assert used is not None
    Path(used).chmod(0o770)
    assert in_process(XDG_CACHE_HOME=str(tmp_path))[2] is None
    (tmp_path / "file").touch()
    assert in_process(XDG_CACHE_HOME=str(tmp_path / "file"))[:1] == (7.0,)


def test_damaged_entries_are_removed_once_nobody_can_be_writing_them(folder: Path) -> None:
    whole = zlib.compress(bytes(range(256)) * 20)
    damaged = bytes([*whole[:100], whole[100] ^ 1, *whole[101:]])
    kept = [
        entry(folder, "whole", whole, 1000.0),
        entry(folder, "begun", whole[:-5], 10.0),
        entry(folder, "by-zstandard", b"\x28\xb5\x2f\xfd", 1000.0),
    ]
    gone = [
        entry(folder, "cut", whole[:-5], 1000.0),
        entry(folder, "empty", b"", 1000.0),
        entry(folder, "damaged", damaged, 1000.0),
    ]
    program_cache.remove_damaged(folder)
    assert all(path.exists() for path in kept) and not any(path.exists() for path in gone)


def test_an_entry_is_looked_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry(folder, "whole", zlib.compress(b"program"), 1000.0)
    new = entry(folder, "new", b"\x78", 10.0)
    program_cache.remove_damaged(folder)
    looked = list[Path]()
    monkeypatch.setattr(program_cache, "_is_whole", lambda path: looked.append(path) or True)
    monkeypatch.setattr("time.time", lambda: NOW + 100.0)
    program_cache.remove_damaged(folder)
    program_cache.remove_damaged(folder)
    assert looked == [new]


def test_the_oldest_entries_are_removed_when_there_is_too_much(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_cache, "MOST_BYTES", 100)
    entries = [entry(folder, str(age), bytes(20), float(age)) for age in (1, 2, 3, 4, 5)]
    program_cache.limit_size(folder)
    assert all(path.exists() for path in entries)
    entries.append(entry(folder, "0", bytes(20), 0.0))
    program_cache.limit_size(folder)
    assert [path.name for path in entries if path.exists()] == ["1-cache", "0-cache"]


def test_each_kind_of_processor_has_its_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    here = program_cache.program_folder()
    assert here == program_cache.program_folder()
    monkeypatch.setattr(program_cache, "processor_identity", lambda: "another")
    assert program_cache.program_folder() != here


def test_what_identifies_a_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Fast\ncpu MHz\t: 2445.4\nflags\t: fpu sse\n\nprocessor\t: 1\n")
    monkeypatch.setattr(user_cache, "Path", lambda path: cpuinfo if path == "/proc/cpuinfo" else Path(path))
    assert user_cache.processor_features() == "fpu sse"
    assert user_cache.processor_identity() == "Fast\nfpu sse"
    cpuinfo.unlink()
    monkeypatch.setattr("platform.node", lambda: "host")
    assert user_cache.processor_identity().endswith(" host") and "host" not in user_cache.processor_features()
