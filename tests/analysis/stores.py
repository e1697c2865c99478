"""Studies written by hand: manifests, metrics and masks without training anything."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlottery.config import Config
from rlottery.pruning.mask_file import mask_to_bytes
from rlottery.pruning.masks import make_mask
from rlottery.storage.disk import write_bytes, write_json
from rlottery.storage.paths import Store

METHODS = {"magnitude": "magnitude", "taylor": "gradient", "gradient": "gradient"}


def config(tasks: Sequence[str] = ("reach-v3",), seeds: Sequence[int] = (0, 1), score_evaluations: int = 2) -> Config:
    """300 steps with an evaluation every 100, whose last two make the score."""
    return Config.model_validate(
        {
            "tasks": list(tasks),
            "seeds": list(seeds),
            "training": {"env_steps": 300, "warmup_steps": 10},
            "evaluation": {"interval": 100, "episodes": 4, "score_evaluations": score_evaluations},
        }
    )


def success(*rates: float) -> list[dict[str, Any]]:
    """Evaluations at steps 0, 100, 200, ... of a task that knows success."""
    return [
        {
            "kind": "evaluation",
            "env_steps": 100 * i,
            "return": 500 * rate,
            "returns": [500 * rate],
            "success": rate,
        }
        for i, rate in enumerate(rates)
    ]


def returns(*means: float, scatter: float = 0.0) -> list[dict[str, Any]]:
    """Evaluations at steps 0, 100, 200, ... whose episodes are `scatter` above and below the mean."""
    return [
        {
            "kind": "evaluation",
            "env_steps": 100 * i,
            "return": mean,
            "returns": [mean - scatter, mean + scatter],
        }
        for i, mean in enumerate(means)
    ]


def write_run(
    store: Store,
    arm: str,
    seed: int,
    rows: list[dict[str, Any]],
    *,
    task: str = "reach-v3",
    error: str | None = None,
    sparsity: dict[str, float] | None = None,
    fingerprint: dict[str, Any] | None = None,
    **facts: Any,
) -> None:
    """A run of arm `dense`, or `{criterion}-{percent}` with the sparsity that the name says; in format 1."""
    files = store.run(task, seed, arm)
    manifest: dict[str, Any] = {
        "format_version": 1,
        "stage": "dense" if arm == "dense" else "ticket",
        "task": task,
        "task_name": task,
        "seed": seed,
        "arm": arm,
        "status": "done" if error is None else "failed",
        "fingerprint": fingerprint or {},
        "files": {"initial.safetensors": "weights"} if arm == "dense" else {},
    }
    if error is not None:
        manifest["error"] = error
    if arm != "dense":
        criterion, percent = arm.split("-")[:2]
        reached = sparsity or {"actor": int(percent) / 100, "critic": int(percent) / 100}
        method = {"method": METHODS[criterion]} if criterion in METHODS else {}
        manifest |= {**method, "criterion": criterion, "sparsity": reached}
    manifest |= facts
    write_bytes(files.metrics, b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    write_json(files.manifest, manifest)


def write_mask(path: Path, kept: Sequence[int]) -> None:
    """A mask of two groups with one layer of ten weights each; `kept` are those that survive in both."""
    layer = np.isin(np.arange(10), kept).reshape(5, 2)
    mask = make_mask(
        {"actor": {"layer_0": layer}, "critic": {"q1.layer_0": layer.copy()}},
        task="reach-v3",
        seed=0,
        method="magnitude",
        criterion="magnitude",
        estimator=None,
        sparsity={"actor": 0.8, "critic": 0.8},
        fingerprint={},
    )
    write_bytes(path, mask_to_bytes(mask))
