"""The networks of a task's agents, known from the config and the task before any are built. No JAX here."""

import json
from collections.abc import Mapping

from rlottery import envs
from rlottery.agents.algorithms import algorithm_of
from rlottery.agents.description import Network, Spec
from rlottery.config import Config, NetworkSettings, Task
from rlottery.errors import naming
from rlottery.pruning.controls import small_widths

_known: dict[str, tuple[Spec, str]] = {}
"""Sizes and a digest of the code, by task and arguments: making an environment takes time, and runs the user's code."""


def task_spec(task: Task) -> Spec:
    """Sizes of a task's observations and actions, as its trial found them when the study was planned.

    Without a trial, from the environment. Raises TaskError if that can't be made.
    """
    if _key(task) not in _known:
        note_task(task, Spec.of(envs.make_closed(task.id, task.kwargs)), "")
    return _known[_key(task)][0]


def task_code(task: Task) -> str:
    """A digest of the code of a task of the user's own, as its trial found it; "" if it is not known."""
    return _known[_key(task)][1] if _key(task) in _known else ""


def note_task(task: Task, spec: Spec, code: str) -> None:
    """Let `task_spec` and `task_code` return these in this process."""
    _known[_key(task)] = spec, code


def _key(task: Task) -> str:
    return json.dumps([task.id, task.kwargs], sort_keys=True)


def networks_of(config: Config, task: Task, spec: Spec, widths: NetworkSettings | None = None) -> tuple[Network, ...]:
    """The prunable networks of a task's agents, with these hidden widths or the config's."""
    algorithm = algorithm_of(config)
    return algorithm.networks(spec, algorithm.settings(config, task, widths))


def small_network(config: Config, task: Task, spec: Spec, kept: Mapping[str, int]) -> NetworkSettings:
    """The hidden widths of a dense agent with at most as many weights as a ticket keeps (`kept`, by group).

    Networks of one group, such as twin critics, get equal shares. Raises MaskError if no network is small enough.
    """
    networks, widths = networks_of(config, task, spec), {}
    for group in kept:
        of_group = [network for network in networks if network.group == group]
        inputs, *hidden, outputs = of_group[0].sizes
        with naming(group):
            widths[group] = small_widths(hidden, inputs, outputs, kept[group] // len(of_group))
    return NetworkSettings(activation=config.network.activation, **widths)
