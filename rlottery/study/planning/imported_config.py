"""The config of a study that begins with an imported agent: its settings are the agent's."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import BaseModel, ValidationError

from rlottery.config import ALGORITHMS, Config, Task, config_to_dict
from rlottery.config.groups import AlgorithmName
from rlottery.config.training import Training, unread_keys
from rlottery.config.yaml_lines import dotted
from rlottery.errors import ConfigError, ForeignFileError, unknown_choice
from rlottery.interop.read_agent import AgentFile
from rlottery.safety.printable import on_one_line

EVALUATIONS = 20
"""Evaluations of a run, about."""
_GIVEN = {
    "data": "--to",
    "tasks": "--task",
    "seeds": "--seed",
    "algorithm": "the agent",
    "network": "the agent",
}
"""What sets keys that overrides can't set."""
_SEEDS = re.compile(r"^seeds: *\[([0-9, ]*)\]", re.M)


class ImportedConfig:
    """The settings of a new study, and where they come from.

    Args:
        file: the agent.
        task: the task's id.
        seed: of the run.
        overrides: ``key.path=value``, as on the command line.
        capacity: transitions that the agent's replay buffer can hold; None: all.

    Attributes:
        values: as in a config file.
        defaults: the keys of the agent's own sections whose values its file doesn't have: ``sac.reward_scale``.
        notes: what could not be taken from the agent, one sentence each.
    """

    def __init__(self, file: AgentFile, task: str, seed: int, overrides: Sequence[str] = ()):
        agent, self._file = file.agent, file
        self.notes: list[str] = []
        found = {section: dict(values) for section, values in agent.settings.items()}
        training = found.setdefault("training", {})
        if agent.env_steps is None and not any(one.startswith("training.env_steps=") for one in overrides):
            raise ConfigError(
                f"{file.path} doesn't say how long the agent was trained, which is how long tickets are trained. Say "
                "how many environment steps: training.env_steps=N"
            )
        self._fit(training, agent.env_steps)
        sections: dict[str, type[BaseModel]] = {
            agent.algorithm: Task.model_fields[agent.algorithm].annotation,  # type: ignore[dict-item]
            "training": Training,
        }
        self.defaults: list[str] = []
        values: dict[str, Any] = {
            "name": "imported",
            "data": "data",
            "tasks": [{"id": task}],
            "seeds": [seed],
            "pruning": {"sparsity": 0.8, "controls": ["random"]},
            "network": agent.network,
            "algorithm": agent.algorithm,
        }
        unread = unread_keys(cast(AlgorithmName, agent.algorithm))
        for section, model in sections.items():
            keys = [key for key in model.model_fields if (section, key) not in unread]
            given = found.get(section, {})
            values[section] = {key: given[key] for key in keys if given.get(key) is not None}
            self.defaults += [f"{section}.{key}" for key in keys if given.get(key) is None]
        values["evaluation"] = {"interval": None, "episodes": 10, "score_evaluations": 1}
        self.values = values
        for override in overrides:
            self._set(override)
        if values["evaluation"]["interval"] is None:
            values["evaluation"]["interval"] = self._interval()

    def _fit(self, training: dict[str, Any], steps: int | None) -> None:
        """Change what a config can't have: numbers that are out of range, or that don't divide each other."""
        warmup, together = training.get("warmup_steps") or 0, training.get("environments") or 1
        if steps is None or type(warmup) is not int or type(together) is not int:
            return  # the settings are refused anyway
        if warmup >= steps:
            warmup = training["warmup_steps"] = steps - 1
        if steps % together or warmup % together or together > 1_024:
            training["environments"] = 1
            self.notes.append(f"It was trained in {together} environments at a time, which don't divide its steps.")

    def _interval(self) -> int:
        """Environment steps between evaluations."""
        steps, together = (self.values["training"].get(key) for key in ("env_steps", "environments"))
        if type(steps) is not int or steps < 1 or type(together) not in (int, type(None)):
            return 1  # the settings are refused anyway
        together = max(together or 1, 1)
        return max(steps // EVALUATIONS // together, 1) * together

    def _set(self, override: str) -> None:
        key, equals, text = override.partition("=")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        if not equals or not re.fullmatch(r"[a-z_]+(\.[a-z0-9_]+)*", key):
            raise ConfigError(f"{override!r} is no KEY.PATH=VALUE.")
        at: Any = self.values
        *parents, last = key.split(".")
        if (first := key.partition(".")[0]) in _GIVEN:
            raise ConfigError(f"{override!r}: {first} can't be set here, because it is given by {_GIVEN[first]}.")
        if key in ("training", "evaluation"):
            raise ConfigError(f"{override!r}: {key} is a section. Set its keys: {key}.KEY=VALUE")
        for parent in parents:
            at = at.setdefault(parent, {})
            if not isinstance(at, dict):
                raise ConfigError(f"{override!r}: {parent} has no keys.")
        at[last] = _number(value)
        self.defaults = [default for default in self.defaults if default != key]

    def keep_only(self, capacity: int) -> None:
        """Let replay buffers hold so many transitions, unless the user has set another number."""
        if "training.replay_capacity" in self.defaults:
            self.values["training"]["replay_capacity"] = capacity
            self.defaults.remove("training.replay_capacity")

    def config(self, data: Path) -> Config:
        """The settings, with another data folder. Raises ConfigError if they are not valid."""
        try:
            return Config.model_validate({**self.values, "data": str(data)})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            places = first.get("ctx", {}).get("places", [first["loc"]])
            if first["type"] == "extra_forbidden":
                raise ConfigError(
                    f"{dotted(first['loc'])}: unknown key. `rlottery init FILE.yaml` lists all."
                ) from None
            raise ConfigError(
                f"{self._file.path}: the agent's settings can't be used here: {dotted(places[0])}: {first['msg']}. "
                f"Give another value on the command line: {dotted(places[0])}=VALUE"
            ) from None

    def text(self, config: Config) -> str:
        """The config file. Keys that the agent's file doesn't have are there, with their defaults."""
        agent, every = self._file.agent, config_to_dict(config)
        lines = [
            f"# A study of an imported agent: {on_one_line(self._file.path.name)}, {agent.algorithm.upper()} of "
            f"{on_one_line(agent.library)}.",
            "# `rlottery run` prunes it, and trains tickets and controls with the same settings.",
            "# For more seeds, import more agents: rlottery import FILE --task TASK --seed N",
            "# `rlottery init FILE.yaml` writes a config that explains every key.",
        ]
        for key, value in self.values.items():
            if not isinstance(value, dict):
                lines.append(f"{key}: {_flow(value)}")
                continue
            lines += ["", f"{key}:"]
            complete = {**every[key], **value} if key in (agent.algorithm, "training") else value
            for name, of in complete.items():
                default = "  # default: not in the agent's file" if f"{key}.{name}" in self.defaults else ""
                lines.append(f"  {name}: {_flow(of)}{default}")
        return "\n".join(lines) + "\n"


def contradictions(file: AgentFile, config: Config, task: Task) -> list[str]:
    """What an agent has otherwise than the config of a study that it shall be a run of, one line each."""
    agent = file.agent
    if agent.algorithm != config.algorithm:
        return [f"algorithm: the agent has {agent.algorithm}, the config {config.algorithm}"]
    widths = {group: list(of_group) for group, of_group in config.hidden_layers.items()}
    asked: dict[str, Any] = {
        "network": {**widths, "activation": config.network.activation},
        config.algorithm: config.hyperparameters_for(task).model_dump(mode="json"),
        "training": config.training_for(task).model_dump(mode="json"),
    }
    training = {key: value for key, value in agent.settings.get("training", {}).items() if value is not None}
    if "updates_per_step" in training:  # which can be written in several ways
        with suppress(ValidationError):  # it differs anyway
            only = Training.model_validate({"updates_per_step": training["updates_per_step"]})
            training["updates_per_step"] = only.model_dump(mode="json")["updates_per_step"]
    found: dict[str, Mapping[str, Any]] = {
        "network": {**agent.hidden, "activation": agent.activation},
        config.algorithm: agent.settings.get(agent.algorithm, {}),
        "training": training,
    }
    lines = []
    for section, values in found.items():
        for key, value in values.items():
            ours = asked[section].get(key)
            # Of these, a study may have others than its agents.
            if value is not None and key not in ("environments", "warmup_steps") and ours is not None and value != ours:
                lines.append(f"{section}.{key}: the agent has {value}, the config {ours}")
    return lines


def with_seed(text: str, seed: int, path: Path) -> str:
    """The text of a config file whose `seeds` have one more. Raises ConfigError if they are written in another way."""
    found = _SEEDS.findall(text)
    if len(found) != 1:
        raise ConfigError(f"{path}: add {seed} to `seeds`, and run this command again.")
    seeds = [part.strip() for part in found[0].split(",") if part.strip()]
    return _SEEDS.sub(f"seeds: [{', '.join([*seeds, str(seed)])}]", text)


def check_algorithm(file: AgentFile, asked: str | None) -> None:
    """Raise ForeignFileError unless an agent is of the algorithm that was asked for, if any."""
    if asked is not None and asked not in ALGORITHMS:
        raise ConfigError(unknown_choice("--algorithm", asked, ALGORITHMS))
    if asked is not None and asked != file.agent.algorithm:
        raise ForeignFileError(f"{file.path} has an agent of {file.agent.algorithm.upper()}, not of {asked.upper()}.")


def _number(value: Any) -> Any:
    """YAML 1.1 reads ``3e-4`` as text; the config's own reader doesn't."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _flow(value: object) -> str:
    """A value as YAML on one line."""
    text: str = yaml.safe_dump(value, sort_keys=False, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("...\n").rstrip("\n")
