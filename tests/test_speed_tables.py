"""The tables of speed in the docs have the numbers of the committed results."""

import csv
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "speed.md").read_text()
XEON, EPYC = "Intel(R) Xeon(R) Processor (family 6, model 207)", "AMD EPYC (family 25, model 1)"
SPARSITIES = ("0.9", "0.95", "0.98")
HEADS = {
    "| masks | AVX-512: 90 %": ((256, 256, XEON, "avx512"), (256, 256, EPYC, "avx2")),
    "| masks | 2 x 512: 90 %": ((512, 256, XEON, "avx512"), (1024, 256, XEON, "avx512")),
    "| masks | batch 1,024: 90 %": ((256, 1024, XEON, "avx512"), (256, 4096, XEON, "avx512")),
}
"""How a table begins -> width, batch, processor and instruction set of each half of its columns."""


def results(name: str) -> list[dict[str, str]]:
    with (ROOT / "benchmarks" / "results" / name).open(newline="") as file:
        return list(csv.DictReader(file))


def rows_below(head: str) -> dict[str, list[str]]:
    """First cell -> the other cells of each row of the table that begins so."""
    table = PAGE[PAGE.index(head) :].partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip().removesuffix(" x") for cell in line.strip("|").split("|")] for line in table]
    return {first.lower(): others for first, *others in cells}


def is_rounded(shown: str, number: str) -> bool:
    """Whether `shown` is `number` with fewer digits. Results are rounded to hundredths: half of one more is allowed."""
    step = 10.0 ** -len(shown.partition(".")[2])
    return abs(float(shown) - float(number)) <= 0.5 * step + 0.005


@pytest.mark.parametrize("head", HEADS)
def test_updates_of_tickets(head: str) -> None:
    found = {}
    for row in results("ticket_speed.csv"):
        half = int(row["width"]), int(row["batch"]), row["processor"], row["kernels"].split()[0]
        found[*half, row["allocation"], row["sparsity"]] = row
    shown = rows_below(head)
    assert set(shown) == {"uniform", "global", "erk"}
    for allocation, cells in shown.items():
        measured = [(*half, allocation, sparsity) for half in HEADS[head] for sparsity in SPARSITIES]
        for cell, key in zip(cells, measured, strict=True):
            assert is_rounded(cell, found[key]["ticket_over_dense"]), (key, cell, found[key])


def test_updates_and_steps_of_one_run() -> None:
    quantities = json.loads((ROOT / "benchmarks" / "results" / "speed.json").read_text())["quantities"]
    found = {quantity["name"].strip(): str(quantity["median"]) for quantity in quantities}
    shown = rows_below("| sparsity | updates, uniform masks")
    assert len(shown) == 4
    for name, cells in shown.items():
        sparsity = name.replace(" ", "")
        measured = [f"updates, ticket over dense, {sparsity} {kind}" for kind in ("uniform", "global")]
        measured.append(f"training loop, ticket over dense, {sparsity} uniform")
        for cell, key in zip(cells, measured, strict=True):
            assert is_rounded(cell, found[key]), (key, cell, found[key])


def test_updates_by_algorithm() -> None:
    found = {
        (row["algorithm"], row["allocation"], row["sparsity"]): row["ticket_over_dense"]
        for row in results("algorithm_speed.csv")
    }
    shown = rows_below("| algorithm | dense, updates/s")
    assert set(shown) == {"sac", "td3", "dqn", "ppo"}
    for algorithm, (_, *cells) in shown.items():
        measured = [(algorithm, kind, of) for of in SPARSITIES[:2] for kind in ("uniform", "erk", "global")]
        for cell, key in zip(cells, measured, strict=True):
            assert is_rounded(cell, found[key]), (key, cell, found[key])


def test_products_of_mkl() -> None:
    page = (ROOT / "docs" / "kernels.md").read_text()
    rows = results("mkl_products.csv")
    measured = {
        "MKL": [str(min(float(row["mkl_over_kernels"]), float(row["mkl_analysed_over_kernels"]))) for row in rows],
        "sparse-dot-mkl": [row["sparse_dot_mkl_over_kernels"] for row in rows],
        "NumPy, dense": [row["numpy_dense_over_kernels"] for row in rows],
    }
    for name, numbers in measured.items():
        (line,) = re.findall(rf"^\| {name} \| (.*) \|$", page, flags=re.M)
        for cell, number in zip(line.split(" | "), numbers, strict=True):
            assert is_rounded(cell, number), (name, cell, number)
