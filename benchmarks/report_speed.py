"""Time and memory of a report on a synthetic study of 300 runs with 200 evaluations each, in a separate process.

    uv run python -m benchmarks.report_speed

Masks have the sizes of SAC with 2 x 256 units on Meta-World. There are no videos: they need a task that can be
rendered, and are made only once. Prints the seconds from the start of Python to the last file and the peak resident
memory, and writes them to benchmarks/results/report_speed.csv.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from rlottery.pruning.mask_file import mask_to_bytes
from rlottery.pruning.masks import GroupMask, make_mask
from rlottery.storage.disk import write_arrays, write_bytes
from rlottery.storage.manifests import file_entry, write_sealed
from rlottery.storage.paths import RunFiles, Store

RESULTS = Path(__file__).parent / "results" / "report_speed.csv"
TASKS = ("task-a", "task-b", "task-c")
SEEDS = range(5)
COMMAND = (sys.executable, "-c", "from rlottery.cli import app; app()", "report")
SPARSITIES = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99)
EVALUATIONS, EPISODES = 200, 10
SHAPES = {"layer_0": (39, 256), "layer_1": (256, 256), "layer_2": (256, 8)}
CRITIC = {f"q{q}.layer_{i}": shape for q in (1, 2) for i, shape in enumerate(((43, 256), (256, 256), (256, 1)))}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = make_study(Path(folder))
        began = time.perf_counter()
        subprocess.run([*COMMAND, config], check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    of_cores = used.ru_utime + used.ru_stime
    runs = len(TASKS) * len(SEEDS) * len(arms())
    result = f"{seconds:.1f} s ({of_cores:.1f} s of processor time), {used.ru_maxrss / 1024:.0f} MiB at most"
    print(f"{runs} runs of {EVALUATIONS} evaluations: {result}")
    row = f"{runs},{EVALUATIONS},{seconds:.1f},{of_cores:.1f},{used.ru_maxrss / 1024:.0f}\n"
    RESULTS.write_text("runs,evaluations,seconds,processor_seconds,most_mib\n" + row)


def arms() -> dict[str, tuple[str, float]]:
    """Name -> criterion and sparsity: dense, three criteria at six sparsities, and one more control."""
    kinds = {
        f"{kind}-{100 * sparsity:g}": (kind, sparsity)
        for kind in ("magnitude", "taylor", "random")
        for sparsity in SPARSITIES
    }
    return {"dense": ("", 0.0), **kinds, "small-dense": ("small-dense", 0.95)}


def make_study(folder: Path) -> str:
    """Write the study. Returns its config file."""
    store, generator = Store(folder / "data"), np.random.default_rng(0)
    for task in TASKS:
        for seed in SEEDS:
            for arm, (criterion, sparsity) in arms().items():
                write_run(store.run(task, seed, arm), task, seed, arm, criterion, sparsity, generator)
    settings = {
        "name": "speed",
        "data": str(store.root),
        "tasks": list(TASKS),
        "seeds": list(SEEDS),
        "training": {"env_steps": EVALUATIONS * 500},
        "evaluation": {"interval": 500, "episodes": EPISODES, "score_evaluations": 5},
    }
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(settings))
    return str(config)


def write_run(
    files: RunFiles,
    task: str,
    seed: int,
    arm: str,
    criterion: str,
    sparsity: float,
    generator: np.random.Generator,
) -> None:
    """A run whose scores rise with its number of weights, with ten rows of losses per evaluation."""
    rows = []
    for number in range(EVALUATIONS + 1):
        mean = 1_000 * (1 - sparsity**8) * (1 - np.exp(-number / 40))
        returns = (mean + generator.normal(0, 30, EPISODES)).tolist()
        scores = {"return": float(np.mean(returns)), "returns": returns, "lengths": [500] * EPISODES, "seconds": 1.0}
        rows.append({"kind": "evaluation", "env_steps": 500 * number, **scores})
        rows += [
            {"kind": "losses", "env_steps": 500 * number + 50 * part, "critic_loss": 1.0, "actor_loss": -1.0}
            for part in range(10)
        ]
    write_bytes(files.metrics, "".join(json.dumps(row) + "\n" for row in rows).encode())
    names = [files.metrics.name]
    if arm == "dense":
        write_arrays(files.agent, {f"params.{name}.kernel": kernel for name, kernel in weights(generator).items()})
        names.append(files.agent.name)
    elif criterion != "small-dense":
        mask = make_mask(
            {"actor": pruned(SHAPES, sparsity, generator), "critic": pruned(CRITIC, sparsity, generator)},
            task=task,
            seed=seed,
            method="listed",
            criterion=criterion,
            estimator=None,
            sparsity={"actor": sparsity, "critic": sparsity},
            fingerprint={},
        )
        write_bytes(files.mask, mask_to_bytes(mask))
        names.append(files.mask.name)
    facts: dict[str, Any] = {}
    if arm != "dense":
        reached = {"actor": sparsity, "critic": sparsity}
        recipe = {"control": criterion, "of": {}} if criterion in ("random", "small-dense") else {}
        facts = {"criterion": criterion, "sparsity": reached, "recipe": recipe}
    write_sealed(
        files.manifest,
        {
            "format_version": 2,
            "status": "done",
            "fingerprint": {},
            "files": {name: file_entry(files.folder / name) for name in names},
            "task": task,
            "seed": seed,
            "arm": arm,
            "env_steps": EVALUATIONS * 500,
            "seconds": 100.0,
            **facts,
        },
    )


def weights(generator: np.random.Generator) -> dict[str, np.ndarray]:
    """The kernels of a trained agent, by name."""
    named = {**{f"actor.{k}": s for k, s in SHAPES.items()}, **{f"critic.{k}": s for k, s in CRITIC.items()}}
    return {name: generator.normal(0, 0.1, shape).astype(np.float32) for name, shape in named.items()}


def pruned(shapes: dict[str, tuple[int, int]], sparsity: float, generator: np.random.Generator) -> GroupMask:
    """A random mask with the exact number of survivors in each layer."""
    return {
        path: generator.permutation(np.arange(a * b) < round((1 - sparsity) * a * b)).reshape(a, b)
        for path, (a, b) in shapes.items()
    }


if __name__ == "__main__":
    main()
