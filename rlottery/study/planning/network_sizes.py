"""The networks of a task's agents, known from the config and the task before any are built. No JAX here."""

import json
from collections.abc import Mapping
from functools import cache

from rlottery import envs
from rlottery.agents.algorithms import algorithm_of
from rlottery.agents.description import Network, Spec
from rlottery.config import Config, NetworkSettings, Task
from rlottery.errors import naming
from rlottery.pruning.controls import small_widths


def task_spec(task: Task) -> Spec:
    """Sizes of a task's observations and actions, from its environment. Raises TaskError if that can't be made."""
    return _spec(task.id, json.dumps(task.kwargs, sort_keys=True))


@cache
def _spec(task: str, kwargs: str) -> Spec:
    """Cached, since making an environment may take seconds."""
    environment = envs.make(task, json.loads(kwargs))
    environment.close()
    return Spec(environment.observation_size, environment.action_size)


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
    return NetworkSettings(**widths)
