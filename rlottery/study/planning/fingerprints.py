"""Fingerprints: what a file was made from, as plain values that can be compared key by key.

A fingerprint has the config keys that its stage reads, the digests of its inputs, and the stage's version. The version
is raised by hand when a change to the code changes what a stage makes. The commit is not compared.
"""

from typing import Any

from rlottery.config import DEFAULT_ALGORITHM, Config, Task
from rlottery.storage.manifests import list_differences
from rlottery.storage.trained_with import trained_with
from rlottery.storage.twins import TWINS
from rlottery.study.planning.arms import Arm
from rlottery.study.planning.read_once import once

DENSE_VERSION = 1
MASK_VERSION = 1
TICKET_VERSION = 1
UNTRAINED_VERSION = 1

Fingerprint = dict[str, Any]

_OF_MASKS = ("allocation", "floor", "structure", "reclaim", "estimator", "schedule", "control", "transfer", "source")


def dense_fingerprint(config: Config, task: Task, seed: int) -> Fingerprint:
    """The fingerprint of a dense run."""
    return {"version": DENSE_VERSION, **_training_keys(config, task, seed)}


def untrained_fingerprint(config: Config, task: Task) -> Fingerprint:
    """The fingerprint of the scores of a task's untrained policies. More policies are added to those that are there."""
    keys = trained_with(config, task)
    return {
        "version": UNTRAINED_VERSION,
        "name": config.name,
        "device": config.device,
        **({} if config.algorithm == DEFAULT_ALGORITHM else {"algorithm": config.algorithm}),
        "task": keys["task"],
        "network": keys["network"],
        "evaluation": {"episodes": config.evaluation.episodes},
    }


def mask_fingerprint(arm: Arm, seed: int, inputs: dict[str, str] | None) -> Fingerprint:
    """The fingerprint of a mask.

    Args:
        inputs: digests of the agent that was scored, and of the mask that this one was made from. None leaves them out
            while they are unknown; then they are not compared.
    """
    pruning: Fingerprint = {"criterion": arm.scoring.criterion_name, "sparsity": arm.sparsity}
    if arm.needs_replay and (recipe := arm.scores_by) is not None:
        pruning |= {"num_gradient_batches": recipe.batches, "gradient_batch_size": recipe.batch_size}
    recipe_keys = arm.scoring.as_dict() | arm.as_dict()
    pruning |= {key: value for key, value in recipe_keys.items() if key in _OF_MASKS} | _budgets(arm)
    known = {} if inputs is None else {"inputs": inputs}
    return {"version": MASK_VERSION, "seed": seed, "pruning": pruning} | known


def ticket_fingerprint(config: Config, task: Task, seed: int, arm: Arm, inputs: dict[str, str] | None) -> Fingerprint:
    """The fingerprint of a ticket's or a control's run.

    Args:
        inputs: digests of what it starts from: the "initial" weights, the "mask", and the "start" that it rewinds to.
            None as for `mask_fingerprint`.
    """
    known = {} if inputs is None else {"inputs": inputs}
    common: Fingerprint = {"version": TICKET_VERSION, **_training_keys(config, task, seed), **known}
    own: Fingerprint = {}
    if arm.rewind_step != 0:
        own["rewind"] = "none" if arm.rewind_step is None else {"step": arm.rewind_step}
    if arm.rescale:
        own["rescale"] = True
    if arm.control is not None and arm.control.has_own_start:
        own["control"] = arm.kind
    if arm.recipe.is_dynamic:
        own |= {"sparsity": arm.sparsity} | {key: value for key, value in arm.as_dict().items() if key in _OF_MASKS}
        own |= _budgets(arm)
    # A plain ticket has no such key, so its fingerprint equals the one that rlottery 0.1 wrote.
    return common | ({"arm": own} if own else {})


def differing_keys(asked: Fingerprint, found: Fingerprint) -> list[str]:
    """The keys in which two fingerprints differ, one line each. Inputs are compared only if `asked` has them."""
    return list_differences(asked, found if "inputs" in asked else {k: v for k, v in found.items() if k != "inputs"})


def _budgets(arm: Arm) -> Fingerprint:
    """Earlier versions knew only shared budgets, and wrote nothing about them (`storage.twins`)."""
    return {TWINS: arm.twins} if arm.ranks_globally and arm.twins != "shared" else {}


def _training_keys(config: Config, task: Task, seed: int) -> Fingerprint:
    training = once(("trained with", task.id), lambda: trained_with(config, task))
    return {"name": config.name, "seed": seed, "device": config.device, **training}
