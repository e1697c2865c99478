"""Studies made up for benchmarks of reports: manifests, metrics, masks and weights, without training anything."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from rlottery.pruning.mask_file import mask_to_bytes
from rlottery.pruning.masks import GroupMask, make_mask
from rlottery.storage.disk import write_arrays
from rlottery.storage.manifests import file_entry, write_sealed
from rlottery.storage.paths import RunFiles

OBSERVATION, ACTION = 39, 4
"""Meta-World's."""


class Sizes(NamedTuple):
    """How much there is to read in a run.

    Attributes:
        evaluations: after the first, which is of the untrained policy.
        losses: rows of losses for each evaluation.
        width: of the two hidden layers of each network.
    """

    evaluations: int
    episodes: int
    losses: int
    width: int = 256
    interval: int = 500


def write_run(
    files: RunFiles,
    task: str,
    seed: int,
    arm: str,
    criterion: str,
    sparsity: float,
    sizes: Sizes,
    generator: np.random.Generator,
    fingerprint: Mapping[str, Any] | None = None,
) -> None:
    """A run whose scores rise with its number of weights; dense with weights, others but small-dense with a mask."""
    rows = []
    for number in range(sizes.evaluations + 1):
        mean = 1_000 * (1 - sparsity**8) * (1 - np.exp(-5 * number / sizes.evaluations))
        returns = (mean + generator.normal(0, 30, sizes.episodes)).tolist()
        lengths = [500] * sizes.episodes
        scores = {"return": float(np.mean(returns)), "returns": returns, "lengths": lengths, "seconds": 1.0}
        rows.append({"kind": "evaluation", "env_steps": sizes.interval * number, **scores})
        for part in range(sizes.losses):
            env_steps = sizes.interval * number + sizes.interval // sizes.losses * part
            rows.append({"kind": "losses", "env_steps": env_steps, "critic_loss": 1.0, "actor_loss": -1.0})
    written = {files.metrics: "".join(json.dumps(row) + "\n" for row in rows).encode()}
    actor, critic = kernel_shapes(sizes.width)
    if arm != "dense" and criterion != "small-dense":
        mask = make_mask(
            {"actor": pruned(actor, sparsity, generator), "critic": pruned(critic, sparsity, generator)},
            task=task,
            seed=seed,
            method="listed",
            criterion=criterion,
            estimator=None,
            sparsity={"actor": sparsity, "critic": sparsity},
            fingerprint={},
        )
        written[files.mask] = mask_to_bytes(mask)
    files.folder.mkdir(parents=True, exist_ok=True)
    for path, content in written.items():
        path.write_bytes(content)
    names = [path.name for path in written]
    if arm == "dense":
        named = {
            f"{group}.{path}": shape
            for group, of in (("actor", actor), ("critic", critic))
            for path, shape in of.items()
        }
        kernels = {name: generator.normal(0, 0.1, shape).astype(np.float32) for name, shape in named.items()}
        write_arrays(files.agent, {f"params.{name}.kernel": kernel for name, kernel in kernels.items()})
        names.append(files.agent.name)
    facts: dict[str, Any] = {}
    if arm != "dense":
        reached = {"actor": sparsity, "critic": sparsity}
        recipe = {"control": criterion, "of": {}} if criterion in ("random", "small-dense") else {}
        facts = {"criterion": criterion, "sparsity": reached, "recipe": recipe}
    manifest = {
        "format_version": 2,
        "status": "done",
        "fingerprint": {} if fingerprint is None else fingerprint,
        "files": {name: file_entry(files.folder / name) for name in names},
        "task": task,
        "seed": seed,
        "arm": arm,
        "env_steps": sizes.evaluations * sizes.interval,
        "seconds": 100.0,
        **facts,
    }
    write_sealed(files.manifest, manifest)


def kernel_shapes(width: int) -> tuple[dict[str, tuple[int, int]], dict[str, tuple[int, int]]]:
    """Layer -> inputs and outputs, of SAC's actor and of both critics."""
    actor = ((OBSERVATION, width), (width, width), (width, 2 * ACTION))
    critic = ((OBSERVATION + ACTION, width), (width, width), (width, 1))
    of_actor = {f"layer_{i}": shape for i, shape in enumerate(actor)}
    return of_actor, {f"q{q}.layer_{i}": shape for q in (1, 2) for i, shape in enumerate(critic)}


def pruned(shapes: Mapping[str, tuple[int, int]], sparsity: float, generator: np.random.Generator) -> GroupMask:
    """A random mask with the exact number of survivors in each layer."""
    return {
        path: generator.permutation(np.arange(a * b) < round((1 - sparsity) * a * b)).reshape(a, b)
        for path, (a, b) in shapes.items()
    }
