"""How fast the product of a layer is with operands in bfloat16, against float32.

    uv run python -m benchmarks.bfloat16

Needs a C++ compiler and a processor with AVX-512. Three forms of the same product are compiled from `bfloat16.cc` and
timed in turns on one core, by its CPU time: float32 as in rlottery's kernels, bfloat16 with sums in float32 by vectors
(AVX512_BF16), and by tiles (AMX), where the processor has them. Weights are copied to the order in which the product
reads them, as the kernels do before each pass; for bfloat16, weights and inputs are rounded as well. "bare" is without
that. Writes benchmarks/results/bfloat16.csv, a row for each width and form: the median over rounds of the speed over
float32 with the same preparation, and the largest error relative to the largest number of the exact product. Rows of
other processors stay there.
"""

import argparse
import ctypes
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.machine import processor_name
from benchmarks.result_tables import write_rows
from rlottery.agents.kernels.build import FLAGS, VECTOR_FLAGS, find_compiler
from rlottery.study.execution.cores import pin

SOURCE = Path(__file__).with_suffix(".cc")
BFLOAT16_FLAGS = ("-shared", "-mavx512bf16", "-mamx-tile", "-mamx-bf16")
"""Besides those of the kernels for AVX-512."""
FORMS = ("float32", "bfloat16 vectors", "bfloat16 tiles")
WIDTHS, BATCH = (256, 512, 1024), 256
ROUNDS, SECONDS = 15, 0.03


def main() -> None:
    parser = argparse.ArgumentParser(description="Products in bfloat16 against float32.")
    parser.add_argument("--core", type=int, default=0, help="the core to measure on")
    pin(parser.parse_args().core)
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "bfloat16.so"
        flags = (*FLAGS, *VECTOR_FLAGS["avx512"], *BFLOAT16_FLAGS)
        subprocess.run([*find_compiler()[0], *flags, str(SOURCE), "-o", str(library)], check=True)
        seconds = ctypes.CDLL(str(library)).seconds
    seconds.restype = ctypes.c_double
    rows = [row for width in WIDTHS for row in compare(seconds, width)]
    write_rows("bfloat16.csv", rows, keep=("width", "form", "processor"))


def compare(seconds: Callable[..., float], width: int) -> list[dict[str, object]]:
    """A row for each form that the processor has, for a layer of so many inputs and units."""

    def of(form: int, converts: bool, times: int, error: object = None) -> float:
        return seconds(form, converts, width, width, BATCH, times, error)

    once = of(0, True, 10)
    forms = [form for form in range(len(FORMS)) if of(form, True, 1) > 0]
    times = max(1, round(SECONDS / once))
    rounds = [
        {(form, converts): of(form, converts, times) for form in forms for converts in (True, False)}
        for _ in range(ROUNDS)
    ]

    def over_float32(form: int, converts: bool) -> float:
        return round(statistics.median(each[0, converts] / each[form, converts] for each in rounds), 2)

    rows: list[dict[str, object]] = []
    for form in forms:
        error = ctypes.c_double()
        of(form, True, 1, ctypes.byref(error))
        rows.append(
            {
                "width": width,
                "batch": BATCH,
                "form": FORMS[form],
                "over_float32": over_float32(form, True),
                "over_float32_bare": over_float32(form, False),
                "gflops": round(2e-9 * width * width * BATCH / statistics.median(each[form, True] for each in rounds)),
                "error": f"{error.value:.1e}",
                "processor": processor_name(),
            }
        )
    return rows


if __name__ == "__main__":
    main()
