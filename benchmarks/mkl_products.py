"""The forward pass of a sparse layer by the kernels, by MKL's sparse product and by NumPy's dense one, on one core.

    uv run --with mkl==2026.2.1 --with sparse-dot-mkl==0.9.10 python -m benchmarks.mkl_products

Random masks, batches of 256. The kernels run a network of eight such layers, with biases and ReLU, in one call of JAX.
MKL multiplies a matrix in the CSR format, made in advance, with or without its analysis (`mkl_sparse_optimize`), with
activations in the order that suits it, whose rows are units: the same layer without bias and ReLU. sparse-dot-mkl, its
usual interface in Python, makes MKL's matrix at each call. NumPy's product has all weights. All take turns in one
pinned process. Writes benchmarks/results/mkl_products.csv: microseconds of a layer, medians over rounds, and medians of
the others' time over that of the kernels.

There is no row for training: MKL has no product that gives the gradients of the surviving weights alone.
"""

import argparse
import ctypes
import importlib
import importlib.metadata
import os
import statistics
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from benchmarks.break_even import random_masks
from benchmarks.machine import processor_name
from benchmarks.ratios import units_per_second
from benchmarks.result_tables import write_rows
from benchmarks.worker import Worker
from rlottery.agents.kernels.layout import layout_of, pattern_of
from rlottery.agents.kernels.library import register
from rlottery.agents.kernels.native import compact_mlp

WIDTHS, SPARSITIES = (256, 1024), (0.8, 0.9, 0.95, 0.98)
LAYERS, BATCH = 8, 256
ROUNDS, SECONDS = 9, 0.2
ROW_MAJOR, GENERAL, NOT_TRANSPOSED = 101, 20, 10
"""MKL's constants of mkl_spblas.h: the layout, the type of a matrix, the operation."""


class Description(ctypes.Structure):
    """MKL's `struct matrix_descr`."""

    _fields_ = (("type", ctypes.c_int), ("mode", ctypes.c_int), ("diagonal", ctypes.c_int))


def library() -> Path:
    """MKL's library in the installed package, which sparse-dot-mkl finds by a variable."""
    files = importlib.metadata.files("mkl") or []
    return Path(str(next(file.locate() for file in files if file.name.startswith("libmkl_rt"))))


def aligned(array: Any) -> Any:
    """The array at a multiple of 64 bytes, as JAX's are: MKL's product takes up to twice as long at other places."""
    memory = np.empty(array.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[:] = array
    return copy


def by_kernels(masks: list[Any]) -> Callable[[], object]:
    """The forward pass of a network with these masks."""
    register()
    generator = np.random.default_rng(1)
    layout = layout_of([len(masks[0])] * (LAYERS + 1), masks)
    pattern, none = jnp.asarray(pattern_of(layout, masks)), jnp.zeros((BATCH, 0))
    vector = jnp.asarray(generator.standard_normal(layout.size, np.float32))
    inputs = jnp.asarray(generator.standard_normal((BATCH, layout.widths[0]), np.float32))
    forward = jax.jit(lambda vector, inputs: compact_mlp(layout, "relu", vector, pattern, inputs, none))
    return lambda: jax.block_until_ready(forward(vector, inputs))  # type: ignore[no-untyped-call]


def by_mkl(masks: list[Any], *, analysed: bool) -> Callable[[], object]:
    """The products of all layers, each with a matrix that MKL has or has not analysed."""
    mkl = ctypes.CDLL(os.environ["MKL_RT"])
    width, generator = len(masks[0]), np.random.default_rng(1)
    inputs, outputs = aligned(generator.standard_normal((2, width, BATCH), np.float32))
    kept: list[Any] = [inputs, outputs]  # what MKL points to
    layers = [scipy.sparse.csr_array(mask.T * generator.standard_normal(mask.shape, np.float32)) for mask in masks]
    calls = []
    for of_layer in layers:
        rows, columns = of_layer.indptr.astype(np.int32), of_layer.indices.astype(np.int32)
        values, handle = of_layer.data.astype(np.float32), ctypes.c_void_p()
        kept += [rows, columns, values]
        starts, ends = rows.ctypes.data, rows.ctypes.data + rows.itemsize
        places = (ctypes.c_void_p(at) for at in (starts, ends, columns.ctypes.data, values.ctypes.data))
        check(mkl.mkl_sparse_s_create_csr(ctypes.byref(handle), 0, width, width, *places))
        if analysed:
            hint = (NOT_TRANSPOSED, Description(GENERAL), ROW_MAJOR, BATCH, 1_000_000)
            check(mkl.mkl_sparse_set_mm_hint(handle, *hint))
            check(mkl.mkl_sparse_optimize(handle))
        # mkl_sparse_s_mm(operation, alpha, A, description, layout, B, columns, ldb, beta, C, ldc)
        call = [NOT_TRANSPOSED, ctypes.c_float(1.0), handle, Description(GENERAL), ROW_MAJOR]
        call += [ctypes.c_void_p(inputs.ctypes.data), BATCH, BATCH, ctypes.c_float(0.0)]
        calls.append([*call, ctypes.c_void_p(outputs.ctypes.data), BATCH])
    for call, of_layer in zip(calls, layers, strict=True):
        check(mkl.mkl_sparse_s_mm(*call))
        np.testing.assert_allclose(outputs, of_layer @ inputs, rtol=1e-3, atol=1e-3)

    def once() -> object:
        for call in calls:
            check(mkl.mkl_sparse_s_mm(*call))
        return kept

    return once


def by_sparse_dot_mkl(masks: list[Any]) -> Callable[[], object]:
    """The products of all layers, as users of Python write them."""
    dot_product_mkl = importlib.import_module("sparse_dot_mkl").dot_product_mkl
    generator = np.random.default_rng(1)
    inputs, outputs = aligned(generator.standard_normal((2, len(masks[0]), BATCH), np.float32))
    layers = [scipy.sparse.csr_array(mask.T * generator.standard_normal(mask.shape, np.float32)) for mask in masks]
    np.testing.assert_allclose(dot_product_mkl(layers[0], inputs), layers[0] @ inputs, rtol=1e-3, atol=1e-3)
    return lambda: [dot_product_mkl(layer, inputs, out=outputs) for layer in layers]


def by_numpy(masks: list[Any]) -> Callable[[], object]:
    """The products of all layers with all weights."""
    generator = np.random.default_rng(1)
    inputs, outputs = aligned(generator.standard_normal((2, BATCH, len(masks[0])), np.float32))
    layers = [generator.standard_normal(mask.shape, np.float32) for mask in masks]
    return lambda: [np.dot(inputs, layer, out=outputs) for layer in layers]


def check(status: int) -> None:
    """Raise what MKL says is wrong."""
    if status:
        raise RuntimeError(f"MKL returns status {status}")


def compare(width: int, sparsity: float) -> dict[str, object]:
    """A row of the table, measured in this process."""
    os.environ["MKL_RT"] = str(library())
    masks: list[Any] = random_masks(np.random.default_rng(0), [width] * (LAYERS + 1), 1 - sparsity)
    works = {
        "kernels": by_kernels(masks),
        "mkl": by_mkl(masks, analysed=False),
        "mkl_analysed": by_mkl(masks, analysed=True),
        "sparse_dot_mkl": by_sparse_dot_mkl(masks),
        "numpy_dense": by_numpy(masks),
    }
    for work in works.values():
        work()
    rounds = [
        {name: 1e6 / LAYERS / units_per_second(work, SECONDS) for name, work in works.items()} for _ in range(ROUNDS)
    ]
    medians = {f"{name}_us": round(statistics.median(taken[name] for taken in rounds), 1) for name in works}
    others = {
        f"{name}_over_kernels": round(statistics.median(taken[name] / taken["kernels"] for taken in rounds), 2)
        for name in works
        if name != "kernels"
    }
    return {"width": width, "sparsity": sparsity, **medians, **others, "processor": processor_name()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--core", type=int, default=0, help="the core to measure on")
    given = parser.parse_args()
    with Worker(given.core) as worker:
        rows = [
            worker.ask("benchmarks.mkl_products:compare", width=width, sparsity=sparsity)
            for width, sparsity in product(WIDTHS, SPARSITIES)
        ]
    write_rows("mkl_products.csv", rows)


if __name__ == "__main__":
    main()
