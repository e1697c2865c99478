"""The untrained policies of a task: fresh dense agents, each evaluated on one episode. No arm and no seed shares them.

Their mean is the zero of the task's normalised scores. The dense agents of a few seeds give a poor one: untrained
policies of a task differ far more than trained ones.
"""

import time
from collections.abc import Callable

import numpy as np

from rlottery.envs import Environment, OpenEnvironments
from rlottery.errors import StoppedError, TaskError
from rlottery.seeding import evaluation_seeds, untrained_seeds
from rlottery.storage.progress import ProgressFile
from rlottery.storage.untrained_record import UntrainedScores, write_untrained
from rlottery.study.planning.fingerprints import untrained_fingerprint
from rlottery.study.planning.jobs import Job
from rlottery.study.planning.network_sizes import task_spec
from rlottery.study.planning.untrained import untrained_scores
from rlottery.study.planning.versions_now import code_versions
from rlottery.study.stages.agents import fresh_policies
from rlottery.study.versions import versions
from rlottery.training.evaluation import ChooseAction, run_episode
from rlottery.training.loop import check_sizes


def evaluate_untrained(job: Job, stop_wanted: Callable[[], bool], environments: OpenEnvironments) -> None:
    """Evaluate the untrained policies of the job's task, as far as that has not been done yet.

    Policy i plays evaluation episode i, counted around the episodes of an evaluation. Its scores are saved as often as
    the checkpoints of runs. Raises StoppedError if `stop_wanted`, and TaskError as the environment does, or if an
    observation is too large for a policy.
    """
    config, task = job.config, job.task
    asked, begun = config.evaluation.untrained_policies, untrained_scores(job)
    returns, successes = ([], []) if begun is None else (begun.returns[: begun.done], begun.successes[: begun.done])
    fingerprint, made_with = untrained_fingerprint(config, task), versions() | code_versions(task)

    def save() -> None:
        scores = UntrainedScores(fingerprint, asked, returns, successes, made_with)
        write_untrained(job.untrained_files, task.id, scores)

    save()  # from here on a file that is missing was deleted
    environment, policy = environments.make(task.id, task.kwargs), fresh_policies(job)
    check_sizes(environment, task_spec(task))
    seeds = untrained_seeds(config.name, task.name, asked)
    episodes = evaluation_seeds(config.name, task.name, config.evaluation.episodes)
    progress, saved_at = ProgressFile(job.files.progress, asked, len(returns)), time.monotonic()
    try:
        while (index := len(returns)) < asked:
            total, success = _play(policy(seeds[index]), environment, episodes[index % len(episodes)])
            returns.append(total)
            successes.append(None if success is None else float(success))
            progress.tick(len(returns))
            stop = stop_wanted()
            if stop or time.monotonic() - saved_at >= config.checkpoint_seconds:
                save()
                saved_at = time.monotonic()
            if stop and len(returns) < asked:
                raise StoppedError(f"Stopped after {len(returns)} of {asked} untrained policies, which are saved.")
        save()
    finally:
        progress.remove()


def _play(policy: ChooseAction, environment: Environment, seed: int) -> tuple[float, bool | None]:
    """The return and the success of a deterministic policy on the episode of a seed."""

    def choose(observation: np.ndarray) -> np.ndarray:
        action = policy(observation)
        if not np.isfinite(action).all():
            raise TaskError(
                f"An untrained policy chose {action} for the observation {observation}: let the environment return "
                "smaller observations."
            )
        return action

    episode = run_episode(choose, environment, seed)
    return episode.total, episode.success
