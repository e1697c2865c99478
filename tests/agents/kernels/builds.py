"""Compilers and libraries for the tests of building and finding the kernels."""

import json
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest

from rlottery.agents.kernels.build import (
    COMPILERS,
    LIBRARY,
    OLDEST_JAXLIB,
    RECORD,
    BuildRecord,
    read_build_record,
    source_digest,
)

COMPILER = next(filter(None, map(shutil.which, COMPILERS)), "")
needs_compiler = pytest.mark.skipif(not COMPILER, reason="no C++ compiler is on the PATH")


def write_compiler(folder: Path, script: str) -> None:
    """A `c++` in `folder` that answers to --version and does as `script` says for all else."""
    path = folder / "c++"
    path.write_text(f'#!/bin/sh\ncase "$1" in --version) echo "c++ (test) 1.2.3"; exit 0;; esac\n{script}\n')
    path.chmod(0o755)


def write_record(folder: Path, record: BuildRecord | None = None) -> None:
    """A record in `folder`, of kernels built from the sources that are here if none is given."""
    made = record or BuildRecord(
        "built", compiler="c++", headers=OLDEST_JAXLIB, instruction_sets=("portable",), sources=source_digest()
    )
    (folder / RECORD.name).write_text(json.dumps(asdict(made)))


def compile_library(folder: Path, code: str) -> Path:
    """A library of `code` in `folder`, under the name and with the record of the kernels."""
    path = folder / LIBRARY.name
    command = [COMPILER, "-shared", "-fPIC", "-x", "c++", "-", "-o", str(path)]
    subprocess.run(command, input=code, text=True, check=True, timeout=600)
    write_record(folder)
    return path


def copy_of_the_kernels(folder: Path) -> BuildRecord:
    """A copy of the kernels that are built here, and their record; without them, the test is skipped."""
    record = read_build_record()
    if record is None or not record.built or not LIBRARY.exists():
        pytest.skip(f"the kernels are not built here: {record.reason if record else 'no record'}")
    if record.sources != source_digest():
        pytest.skip("the sources of the kernels have changed since they were built")
    shutil.copy(LIBRARY, folder)
    write_record(folder, record)
    return record
