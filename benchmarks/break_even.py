"""The density from which a masked layer is faster as a full layer: ``uv run python -m benchmarks.break_even``.

One core. A network of 256, 256 and 256 units with two randomly masked layers and batch 256, alternately with sparse and
with full layers: forward and backward pass with both gradients, which are masked for full layers. There are many inputs
and outputs, so that no unit is dead and only the products count. Writes benchmarks/results/break_even.csv, from which
`BREAK_EVEN` in rlottery/agents/kernels/layout.py is taken. A line has the density, the median microseconds with sparse
and with full layers, and the median and the quartiles of their ratio.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.ratios import summarise
from rlottery.processes.children import child_environment
from rlottery.storage.disk import write_bytes
from rlottery.study.execution.cores import pin

RESULT = Path(__file__).parent / "results" / "break_even.csv"
WIDTHS, BATCH = (256, 256, 256), 256
DENSITIES = (0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 1.0)


def random_masks(generator: np.random.Generator, widths: Sequence[int], density: float) -> list[NDArray[np.bool_]]:
    """A mask (inputs, outputs) for each layer, which keeps this share of its weights."""
    masks = []
    for shape in pairwise(widths):
        flat = np.zeros(shape[0] * shape[1], np.bool_)
        flat[generator.permutation(flat.size)[: round(density * flat.size)]] = True
        masks.append(flat.reshape(shape))
    return masks


def passes(density: float, *, sparse: bool) -> Callable[[], object]:
    """A function that does one forward and one backward pass."""
    import jax
    import jax.numpy as jnp

    from rlottery.agents.kernels.layout import layout_of, pattern_of
    from rlottery.agents.kernels.native import compact_mlp

    generator = np.random.default_rng(0)
    masks = random_masks(generator, WIDTHS, density)
    held: list[Any] = masks if sparse else [None] * len(masks)
    layout = layout_of(WIDTHS, held)
    pattern = jnp.asarray(pattern_of(layout, held))
    kept = jnp.asarray(np.concatenate([part for m in masks for part in (m.reshape(-1), np.ones(m.shape[1], np.bool_))]))
    vector = jnp.asarray(generator.standard_normal(layout.size, np.float32) / 16)
    inputs = jnp.asarray(generator.standard_normal((BATCH, WIDTHS[0]), np.float32))
    none = jnp.zeros((BATCH, 0))

    @jax.jit
    def forward_and_backward(vector: Any, inputs: Any) -> Any:
        outputs, back = jax.vjp(lambda v, x: compact_mlp(layout, "relu", v, pattern, x, none), vector, inputs)
        of_vector, of_inputs = back(outputs)
        return of_vector if sparse else jnp.where(kept, of_vector, 0.0), of_inputs

    def once() -> object:
        return jax.block_until_ready(forward_and_backward(vector, inputs))  # type: ignore[no-untyped-call]

    once()
    return once


def seconds(work: Callable[[], object], times: int = 10) -> float:
    """Seconds per call of `work`."""
    began = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - began) / times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    os.environ.update(child_environment())
    pin(given.core)
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)  # type: ignore[no-untyped-call]
    from rlottery.agents.kernels.library import find, register

    register()
    print(f"kernels: {find()}")
    lines = [["density", "sparse_us", "dense_us", "sparse_over_dense", "lower", "upper", "kernels"]]
    for density in DENSITIES:
        sparse, dense = passes(density, sparse=True), passes(density, sparse=False)
        pairs = [(seconds(sparse), seconds(dense)) for _ in range(given.rounds)]
        ratio = summarise([one / other for one, other in pairs])
        times = [f"{summarise(column).median * 1e6:.0f}" for column in zip(*pairs, strict=True)]
        lines.append([f"{density:g}", *times, *(f"{value:.3f}" for value in ratio), str(find())])
        print(*lines[-1], sep="\t", flush=True)
    write_bytes(RESULT, "".join(",".join(line) + "\n" for line in lines).encode())


if __name__ == "__main__":
    main()
