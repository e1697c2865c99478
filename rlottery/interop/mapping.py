"""A mapping file: which tensors of a file of weights are the layers of which network here.

algorithm: sac
activation: relu                                   # or tanh: of the hidden layers
networks:
  actor: [actor.fc1, actor.fc2, [actor.fc_mean, actor.fc_logstd]]
  critic.q1: [qf1.fc1, qf1.fc2, qf1.fc3]
  critic.q2: [qf2.fc1, qf2.fc2, qf2.fc3]
targets: {critic.q1: [...], critic.q2: [...]}      # optional
arrays: {log_temperature: log_alpha}               # optional; of PPO: log_std
weight: weight                                     # what the names of weights and biases end in, after a dot
bias: bias
axes: out_in                                       # or in_out, as of JAX libraries
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from rlottery.activations import ACTIVATIONS, Activation
from rlottery.config import ALGORITHMS, AlgorithmName
from rlottery.config.fields import one_of
from rlottery.config.loading import load_settings

Modules = Annotated[list[str | list[str]], Field(min_length=1, max_length=100)]


class Mapping(BaseModel):
    """The content of a mapping file. Its module has an example.

    Attributes:
        networks, targets: path of a network -> the names of its layers, from input to output. A list of names stands
            for layers whose outputs are one after the other.
        arrays: part of an agent -> the name of a tensor.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    algorithm: Annotated[AlgorithmName, one_of(ALGORITHMS)]
    activation: Annotated[Activation, one_of(ACTIVATIONS)]
    networks: dict[str, Modules]
    targets: dict[str, Modules] = {}
    arrays: dict[Literal["log_temperature", "log_std"], str] = {}
    weight: str = "weight"
    bias: str = "bias"
    axes: Literal["out_in", "in_out"] = "out_in"


def read_mapping(path: Path) -> Mapping:
    """The mapping in a YAML file. Raises ConfigError, with file and line."""
    return load_settings(path, Mapping, "docs/import-libraries.md has an example of a mapping")
