"""The runs of a study as trackers see them."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from rlottery.config import Config, Task
from rlottery.storage.paths import DENSE, Store
from rlottery.study.planning.arms import Arm, arms_of
from rlottery.study.planning.fingerprints import dense_fingerprint
from rlottery.study.planning.jobs import TRAINING, Job
from rlottery.tracking.tracked_run import TrackedRun


def tracked_runs(jobs: Iterable[Job]) -> list[TrackedRun]:
    """The runs that these jobs train."""
    return [_tracked(job.config, job.task, job.seed, job.arm) for job in jobs if job.stage in TRAINING]


def begun_runs(config: Config) -> list[TrackedRun]:
    """The runs of a study that have metrics, in the order of its config."""
    methods = (None,) if config.arms else ("magnitude", "gradient")
    arms = {arm.name: arm for method in methods for arm in arms_of(config, method)}
    store = Store(config.data)
    return [
        _tracked(config, task, seed, arms.get(name))
        for task in config.tasks
        for seed in config.seeds
        for name in store.arms(task.name, seed)
        if (name == DENSE or name in arms) and store.run(task.name, seed, name).metrics.exists()
    ]


def _tracked(config: Config, task: Task, seed: int, arm: Arm | None) -> TrackedRun:
    name = DENSE if arm is None else arm.name
    folder = Store(config.data).run(task.name, seed, name).folder
    settings: dict[str, Any] = {
        "study": config.name,
        "task": task.id,
        "kwargs": task.kwargs,
        "seed": seed,
        "arm": name,
        "algorithm": config.algorithm,
        config.algorithm: config.hyperparameters_for(task).model_dump(mode="json"),
        "network": config.network.model_dump(mode="json", include={*config.groups, "activation"}),
        "training": config.training_for(task).model_dump(mode="json"),
        "evaluation": config.evaluation.model_dump(mode="json"),
        "device": config.device,
    }
    recipe = {} if arm is None else arm.recipe.model_dump(mode="json", exclude_none=True)
    if arm is not None:
        settings |= {"kind": arm.kind, "recipe": recipe}
        settings |= {"sparsity": arm.sparsity} if arm.sparsity is not None else {}
        settings |= {"of": arm.of.name} if arm.of is not None else {}
    made_from = [dense_fingerprint(config, task, seed), name, recipe]
    digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
    return TrackedRun(str(folder.absolute()), config.name, task.name, seed, name, settings, digest)
