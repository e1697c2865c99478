"""Fingerprints: what made a file, as plain values that can be compared key by key.

A fingerprint holds the config keys that its stage reads, the digests of its inputs, and the stage's version. The
versions are raised by hand when a change to the code changes what a stage makes; the commit is not compared.
"""

from typing import Any

from rlottery.config import Config, Task
from rlottery.storage.trained_with import trained_with
from rlottery.study.planning.arms import Arm

DENSE_VERSION = 1
MASK_VERSION = 1
TICKET_VERSION = 1

Fingerprint = dict[str, Any]

_OF_MASKS = ("allocation", "floor", "structure", "estimator", "schedule", "control", "transfer", "source")
_CONTROLS_OF_WEIGHTS = ("permuted-weights", "fresh-weights", "small-dense", "dense-again")


def dense_fingerprint(config: Config, task: Task, seed: int) -> Fingerprint:
    """Of a dense run."""
    return {"version": DENSE_VERSION, **_training_keys(config, task, seed)}


def mask_fingerprint(arm: Arm, seed: int, inputs: dict[str, str]) -> Fingerprint:
    """Of a mask. `inputs`: digests of the agent that was scored, and of the mask that it was made from."""
    scoring = arm.scoring
    pruning: Fingerprint = {"criterion": scoring.recipe.criterion, "sparsity": arm.sparsity}
    if arm.needs_replay:
        recipe = scoring.recipe
        pruning |= {"num_gradient_batches": recipe.batches, "gradient_batch_size": recipe.batch_size}
    told = scoring.told() | arm.told()
    pruning |= {key: value for key, value in told.items() if key in _OF_MASKS}
    return {"version": MASK_VERSION, "seed": seed, "pruning": pruning, "inputs": inputs}


def ticket_fingerprint(config: Config, task: Task, seed: int, arm: Arm, inputs: dict[str, str]) -> Fingerprint:
    """Of a ticket's or a control's run. `inputs`: digests of the "initial" weights' file, of the "mask", ..."""
    told: Fingerprint = {"version": TICKET_VERSION, **_training_keys(config, task, seed), "inputs": inputs}
    own: Fingerprint = {}
    if arm.rewind_step != 0:
        own["rewind"] = "none" if arm.rewind_step is None else {"step": arm.rewind_step}
    if arm.rescale:
        own["rescale"] = True
    if arm.kind in _CONTROLS_OF_WEIGHTS:
        own["control"] = arm.kind
    if arm.is_dynamic:
        own |= {"sparsity": arm.sparsity} | {key: value for key, value in arm.told().items() if key in _OF_MASKS}
    # A plain ticket has no such key: its fingerprint is the one that rlottery 0.1 wrote.
    return told | ({"arm": own} if own else {})


def _training_keys(config: Config, task: Task, seed: int) -> Fingerprint:
    return {"name": config.name, "seed": seed, "device": config.device, **trained_with(config, task)}
