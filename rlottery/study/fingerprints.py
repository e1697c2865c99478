"""Fingerprints: what made a file, as plain values that can be compared key by key.

A fingerprint holds the config keys that its stage reads, the digests of its inputs, and the stage's version. The
versions are raised by hand when a change to the code changes what a stage makes; the commit is not compared.
"""

from typing import Any

from rlottery.config import Config, Task
from rlottery.study.arms import Arm

DENSE_VERSION = 1
MASK_VERSION = 1
TICKET_VERSION = 1

Fingerprint = dict[str, Any]


def dense_fingerprint(config: Config, task: Task, seed: int) -> Fingerprint:
    """Of a dense run."""
    return {"version": DENSE_VERSION, **_training_keys(config, task, seed)}


def mask_fingerprint(arm: Arm, seed: int, inputs: dict[str, str]) -> Fingerprint:
    """Of a mask. `inputs`: digest of the dense agent's file under "agent"."""
    fingerprint: Fingerprint = {
        "version": MASK_VERSION,
        "seed": seed,
        "pruning": {"criterion": arm.criterion, "sparsity": arm.sparsity},
        "inputs": inputs,
    }
    if arm.needs_replay:
        fingerprint["pruning"] |= {"num_gradient_batches": arm.batches, "gradient_batch_size": arm.batch_size}
    return fingerprint


def ticket_fingerprint(config: Config, task: Task, seed: int, inputs: dict[str, str]) -> Fingerprint:
    """Of a ticket's run. `inputs`: digests of the "initial" weights' file and of the "mask"."""
    return {"version": TICKET_VERSION, **_training_keys(config, task, seed), "inputs": inputs}


def _training_keys(config: Config, task: Task, seed: int) -> Fingerprint:
    return {
        "name": config.name,
        "task": {"id": task.id, "kwargs": task.kwargs},
        "seed": seed,
        "device": config.device,
        "network": config.network.model_dump(mode="json"),
        "sac": config.sac_for(task).model_dump(mode="json"),
        "training": config.training_for(task).model_dump(mode="json"),
        "evaluation": {"interval": config.evaluation.interval, "episodes": config.evaluation.episodes},
    }
