"""Training episodes that are not over when training is saved: with several environments, most are in the middle of one.

Environments are not saved. An episode follows from its seed and its actions, so it is played again when training
continues.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from rlottery.envs import Environment, Step
from rlottery.errors import TaskError


@dataclass
class OpenEpisode:
    """An episode so far.

    Attributes:
        number: it is the run's training episode of this number, counted from 0; its seed follows from that.
        observation: the newest one, (obs,).
        actions: all actions so far, (act,) each; with one environment, they are not kept.
    """

    number: int
    observation: np.ndarray
    actions: list[np.ndarray] = field(default_factory=list)


def play_again(environment: Environment, seed: int, episode: OpenEpisode) -> Iterator[Step]:
    """The steps of an open episode, taken again in a new environment, which is then where the old one was.

    Raises:
        TaskError: the episode takes another course.
    """
    observation = environment.reset(seed)
    for action in episode.actions:
        step = environment.step(action)
        if step.over:
            raise _other_course(episode)
        observation = step.observation
        yield step
    if not np.array_equal(observation, episode.observation):
        raise _other_course(episode)


def _other_course(episode: OpenEpisode) -> TaskError:
    return TaskError(
        f"Training can't continue in the middle of episode {episode.number:,}: from the same seed, the same "
        f"{len(episode.actions):,} actions now lead to another observation. If the versions of the task's packages, or "
        "the processor, have changed since the checkpoint, restore them. Otherwise its episodes depend on more than "
        "their seeds, which `rlottery check` may show: use training.environments: 1 and data=ANOTHER_FOLDER. To train "
        "this run again from its start, delete the folder `checkpoint` in its folder."
    )
