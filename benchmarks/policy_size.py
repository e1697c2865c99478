"""What an exported policy takes: bytes of flash, multiply-adds, microseconds of a call and, of int8 weights, return.

    uv run python -m benchmarks.policy_size data/runs/TASK/seed_N/dense data/runs/TASK/seed_N/ARM ...

For each run, the C header with 32-bit floats and with int8 weights, and the .npz. Needs a C compiler and binutils.
Flash is .text and .rodata of an object file with the policy and nothing else, at -Os for this processor, without the C
library's tanhf. Times are of this processor, at -O2, with vector units (`VECTORS`) and in NumPy, one observation a
call: the least of many short measurements on one core, in processor time. The tasks' code runs.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.result_tables import write_rows
from rlottery.export import npz
from rlottery.export.c_header import header
from rlottery.export.c_program import compiler
from rlottery.export.export import random_observations
from rlottery.export.finished_run import read_finished
from rlottery.export.folded_policy import FoldedPolicy, read_folded
from rlottery.export.int8 import in_int8, measured
from rlottery.study.execution.cores import pin

CALLS, REPEATS = 200, 200
"""Calls in a measurement, and measurements."""

VECTORS = ("-O3", "-ffast-math", "-march=native")
"""Lets the compiler add products in another order, and so with vector units."""

CONTINUOUS = """
#include "policy.h"
void act(const float *observation, float *action) { policy_act(observation, action); }
"""
DISCRETE = """
#include "policy.h"
int64_t act(const float *observation) { return policy_act(observation); }
"""
TIMED = """
#include <stdio.h>
#include <time.h>
#include "policy.h"
#define ROWS 1000

static float observations[ROWS][POLICY_OBSERVATION_SIZE];

int main(void)
{
  volatile float sink = 0.0f;
  float action[POLICY_ACTION_SIZE] = {0.0f};
  double least = 1e30;
  if (fread(observations, sizeof observations, 1, stdin) != 1) return 1;
  for (int repeat = 0; repeat < REPEATS; ++repeat) {
    struct timespec began, ended;
    double seconds;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &began);
    for (int call = 0; call < CALLS; ++call) {
      ACT;
      sink = sink + action[0];
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ended);
    seconds = (double)(ended.tv_sec - began.tv_sec) + 1e-9 * (double)(ended.tv_nsec - began.tv_nsec);
    if (seconds < least) least = seconds;
  }
  printf("%.6f\\n", 1e6 * least / CALLS);
  return 0;
}
"""


def built(folder: Path, source: str, *flags: str) -> Path:
    """What the compiler makes of C source in a folder with the header."""
    command = compiler()
    if command is None:
        raise SystemExit("There is no C compiler here.")
    (folder / "main.c").write_text(source)
    subprocess.run([*command, "-std=gnu99", *flags, "main.c", "-o", "made", "-lm"], cwd=folder, check=True)
    return folder / "made"


def flash(folder: Path, *, discrete: bool) -> int:
    """Bytes of code and constants."""
    made = built(folder, DISCRETE if discrete else CONTINUOUS, "-Os", "-c")
    sections = subprocess.run(["size", "-A", made], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in sections.splitlines()]
    return sum(int(row[1]) for row in rows if row and row[0].startswith((".text", ".rodata")))


def c_microseconds(folder: Path, observations: np.ndarray, *flags: str, discrete: bool) -> float:
    call = "policy_act(observations[call % ROWS], action);"
    if discrete:
        call = "action[0] = (float)policy_act(observations[call % ROWS]);"
    constants = [f"-DREPEATS={REPEATS}", f"-DCALLS={CALLS}"]
    program = built(folder, TIMED.replace("ACT;", call), *flags, *constants)
    return float(subprocess.run([program], input=observations.tobytes(), capture_output=True, check=True).stdout)


def microseconds(call: Callable[[np.ndarray], object], observations: np.ndarray) -> float:
    least = float("inf")
    for _ in range(REPEATS):
        began = time.process_time_ns()
        for row in observations[:CALLS]:
            call(row)
        least = min(least, 1e-3 * (time.process_time_ns() - began) / CALLS)
    return least


def measure(policy: FoldedPolicy, mean_return: float) -> dict[str, object]:
    acts, discrete = policy.policy, policy.policy.first_action is not None
    made, observations, int8 = header(policy), random_observations(policy.policy), policy.scales is not None
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "policy.h").write_text(made.text)
        return {
            "task": acts.task,
            "seed": acts.seed,
            "arm": acts.arm,
            "sparsity": round(acts.sparsity, 4),
            "weights": "int8" if int8 else "float32",
            "multiply_adds": made.multiply_adds,
            "constants_bytes": made.constants,
            "flash_bytes": flash(folder, discrete=discrete),
            "stack_bytes": made.stack,
            "npz_bytes": "" if int8 else len(npz.content(policy)),
            "c_microseconds": round(c_microseconds(folder, observations, "-O2", discrete=discrete), 3),
            "c_vector_microseconds": round(c_microseconds(folder, observations, *VECTORS, discrete=discrete), 3),
            "numpy_microseconds": "" if int8 else round(microseconds(acts, observations), 2),
            "mean_return": round(mean_return, 2),
        }


def main(folders: list[str]) -> None:
    pin(0)
    rows = []
    for folder in folders:
        run = read_finished(Path(folder))
        read, returns = read_folded(run, trust=True), measured(run, trust=True)
        policy = replace(read.folded, name="policy")
        rows.append(measure(policy, returns.float32))
        rows.append(measure(in_int8(policy), returns.int8))
    write_rows("policy_size.csv", rows)


if __name__ == "__main__":
    main(sys.argv[1:])
