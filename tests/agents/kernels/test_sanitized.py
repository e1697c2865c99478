"""The kernels under the address and undefined behaviour sanitizers, against double precision (sanitized.cc)."""

import os
import subprocess
from pathlib import Path

import pytest

from rlottery.agents.kernels.build import SOURCES, VECTOR_FLAGS
from rlottery.agents.kernels.library import INSTRUCTION_SETS, find, look
from tests.agents.kernels.builds import COMPILER, needs_compiler

TABLES = {"avx512": "kAvx512", "avx2": "kAvx2", "portable": "kPortable"}
NETWORKS = 100
FLAGS = ["-std=c++17", "-O0", "-ffp-contract=fast", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def compiles(flags: list[str], folder: Path) -> bool:
    command = [COMPILER, *FLAGS, *flags, "-x", "c++", "-", "-o", str(folder / "tried")]
    return subprocess.run(command, input="int main() {}", text=True, capture_output=True).returncode == 0


@needs_compiler
@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
def test_random_networks_agree_and_nothing_is_touched_that_should_not_be(instruction_set: str, tmp_path: Path) -> None:
    """On a processor without the instructions, the same code is compiled to others."""
    flags = [*VECTOR_FLAGS.get(instruction_set, ())]
    if instruction_set != "portable" and not _runs_here(instruction_set):
        flags = ["-Wno-psabi"]
    if instruction_set == "portable":
        flags = ["-DRLOTTERY_NO_SHUFFLES"]  # as with compilers that lack them
    if not compiles(flags, tmp_path):
        pytest.skip("this compiler has no sanitizers, or not these instructions")
    program = tmp_path / "sanitized"
    kernels, test = SOURCES / f"{instruction_set}.cc", Path(__file__).with_name("sanitized.cc")
    tested = f"-DRLOTTERY_TESTED={TABLES[instruction_set]}"
    command = [COMPILER, *FLAGS, f"-I{SOURCES}", *flags, tested, str(kernels), str(test), "-o", str(program)]
    subprocess.run(command, check=True, timeout=600)
    environment = dict(os.environ) | {"ASAN_OPTIONS": "detect_leaks=0"}  # that needs ptrace, which a container may lack
    told = subprocess.run([program, str(NETWORKS)], capture_output=True, text=True, timeout=600, env=environment)
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stdout == f"{NETWORKS} networks agree\n"


def _runs_here(instruction_set: str) -> bool:
    """By the library's own choice: it takes the widest that the processor has."""
    found = look() if os.environ.get("RLOTTERY_KERNELS") is None else find()
    has = found.instruction_set
    return has in INSTRUCTION_SETS and INSTRUCTION_SETS.index(has) <= INSTRUCTION_SETS.index(instruction_set)
