"""The settings of a study as one validated model.

Nothing here imports JAX or an environment: the process that starts the workers reads its settings first.
"""

import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeVar

from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import InitErrorDetails

from rlottery.config.built_in import recipes_for
from rlottery.config.contrasts import Contrast, RegisteredContrast, objections
from rlottery.config.expand import RecipeError, spread
from rlottery.config.fields import (
    FILLED,
    MOST_ENVIRONMENTS,
    Seconds,
    Section,
    Seed,
    Sparsity,
    Switch,
    Workers,
    at_most,
    listed,
    one_of,
)
from rlottery.config.groups import ALGORITHMS, ALL_GROUPS, DEFAULT_ALGORITHM, GROUPS, NETWORKS, ON_POLICY, AlgorithmName
from rlottery.config.numbers import LARGEST_COUNT, either_multiple, fault, nearest_divisors, nearest_multiples
from rlottery.config.recipes import PrunedRecipe, Recipe, SparseTrainingRecipe, TransferRecipe, parse_recipe
from rlottery.config.sections import (
    MOST_EPISODES,
    MOST_EVALUATIONS,
    DQNSettings,
    EvaluationSettings,
    Hyperparameters,
    NetworkSettings,
    PPOSettings,
    Pruning,
    SACSettings,
    Task,
    TD3Settings,
    Verdict,
)
from rlottery.config.tracking import TRACKERS, Tracking
from rlottery.config.training import NOT_FOR_ROLLOUTS, Training, TrainingOnRollouts, unread_keys
from rlottery.config.updates import at_the_least
from rlottery.config.yaml_lines import KeyPath, dotted, show
from rlottery.errors import ConfigError, or_closest

_Recipe = Annotated[Recipe, PlainValidator(parse_recipe), PlainSerializer(lambda recipe: recipe.model_dump())]
_STUDY_NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_S = TypeVar("_S", bound=Section)


def _merged(base: _S, overrides: _S) -> _S:
    return base.model_copy(update={key: getattr(overrides, key) for key in overrides.model_fields_set})


KeyPaths = tuple[tuple[str, str], ...]

_STEPS = ("training", "env_steps")
_WARMUP = (("training", "warmup_steps"), _STEPS)
_INTERVAL = (("evaluation", "interval"), _STEPS)
_EPISODES = (("evaluation", "episodes"), *_INTERVAL)
_SCORED = (("evaluation", "score_evaluations"), *_INTERVAL)
_UPDATES = (("training", "updates_per_step"), _STEPS)
_UPDATES_ON_ROLLOUTS = (("ppo", "epochs"), ("ppo", "rollout_steps"), ("ppo", "batch_size"), _STEPS)
_ENVIRONMENTS = (("training", "environments"), _STEPS)
_EXPLORATION = (("dqn", "exploration_end"), ("dqn", "exploration_start"))
_TARGET = (("dqn", "target_interval"), *_UPDATES)
_DELAY = (("td3", "policy_delay"), *_UPDATES)

MOST_RUNS = 200_000
"""The most runs of a study."""
MOST_WEIGHTS = 2**28
"""The most weights between hidden layers. A mask file has a byte for each weight, and larger ones are not read."""


class Config(Section):
    """A study."""

    name: str = Field(default="study", description="of the study; its random numbers depend on it")
    data: Path = Field(default=Path("data"), description="results folder, relative to the working directory")
    data_anywhere: Switch = Field(
        default=False, description="true lets commands write to a `data` folder outside the working directory"
    )
    tasks: Annotated[tuple[Task, ...], FILLED, at_most(1_000)] = Field(description="environments to learn")
    seeds: Annotated[tuple[Seed, ...], FILLED, at_most(20_000)] = Field(
        description="one run of each arm per task and seed"
    )
    workers: Workers = Field(default="auto", description="runs at the same time; auto: one per core")
    device: Annotated[Literal["cpu", "cuda"], one_of(("cpu", "cuda"), meant={"gpu": "cuda"})] = Field(
        default="cpu", description="where networks are trained"
    )
    pruning: Pruning = Pruning()
    arms: Annotated[tuple[_Recipe, ...], at_most(1_000)] = Field(
        default=(), description="recipes of tickets and controls, in place of pruning"
    )
    contrasts: Annotated[tuple[Contrast, ...], at_most(1_000)] = Field(
        default=(), description="claims about the order of arms, registered before the runs"
    )
    network: NetworkSettings = NetworkSettings()
    algorithm: Annotated[AlgorithmName, one_of(ALGORITHMS)] = Field(
        default=DEFAULT_ALGORITHM, description="what trains the agents; the section of this name has its settings"
    )
    sac: SACSettings = SACSettings()
    td3: TD3Settings = TD3Settings()
    dqn: DQNSettings = DQNSettings()
    ppo: PPOSettings = PPOSettings()
    training: Training = Training()
    evaluation: EvaluationSettings = EvaluationSettings()
    verdict: Verdict = Verdict()
    checkpoint_seconds: Seconds = Field(
        default=120.0,
        description="the most seconds of training that are lost if a run is killed; 0: save after every episode",
    )
    tracking: Tracking = Tracking()
    keep_replay: Switch = Field(
        default=True,
        description="true keeps each dense agent's replay buffer; false deletes it when this command's stages for its "
        "task and seed are done",
    )
    other_versions: Annotated[Literal["report", "refuse"], one_of(("report", "refuse"))] = Field(
        default="report",
        description="what to do if versions, processor or kernels differ from those of the runs that a command "
        "continues, repeats or compares with: report it, or refuse to start",
    )

    @property
    def recipes(self) -> list[Recipe]:
        """One recipe for each arm in `arms`, with a name and at most one sparsity."""
        return spread(self.arms)

    @property
    def rewind_steps(self) -> tuple[int, ...]:
        """The steps of a dense run that some arm is rewound to, in ascending order."""
        steps = {recipe.rewind_step for recipe in self.arms if isinstance(recipe, PrunedRecipe)}
        return tuple(sorted(step for step in steps if step))

    @property
    def registered_contrasts(self) -> tuple[RegisteredContrast, ...]:
        """The claims in `contrasts`, one for each pair of neighbours in a chain."""
        return tuple(part for contrast in self.contrasts for part in contrast.parts())

    def hyperparameters_for(self, task: Task) -> Hyperparameters:
        """The settings of the study's algorithm, with those of the task overriding the study's."""
        sections: dict[AlgorithmName, tuple[Any, Any]] = {
            "sac": (self.sac, task.sac),
            "td3": (self.td3, task.td3),
            "dqn": (self.dqn, task.dqn),
            "ppo": (self.ppo, task.ppo),
        }
        merged: Hyperparameters = _merged(*sections[self.algorithm])
        return merged

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of networks of the study's algorithm."""
        return GROUPS[self.algorithm]

    @property
    def hidden_layers(self) -> dict[str, tuple[int, ...]]:
        """Group of networks -> the widths of its hidden layers."""
        return self.network.of(self.groups)

    def training_for(self, task: Task) -> Training:
        """The training settings, with those of the task overriding the study's.

        On-policy algorithms decide about the schedule of updates in their own section.
        """
        merged, own = _merged(self.training, task.training), self.hyperparameters_for(task)
        return own.schedule(merged) if isinstance(own, PPOSettings) else merged

    @field_validator("name", mode="before")
    @classmethod
    def _safe_name(cls, value: object) -> object:
        if isinstance(value, str) and _STUDY_NAME.fullmatch(value):
            return value
        raise fault(f"must be 1 to 64 letters, digits, '_', '-' and single '.', not {show(value)}", wants="text")

    @field_validator("data", mode="before")
    @classmethod
    def _folder(cls, value: object) -> object:
        if isinstance(value, str | Path) and (text := str(value)) and text.isprintable():
            if (path := os.path.expanduser(text)).startswith("~"):
                raise fault(f"names a home folder that doesn't exist: {show(value)}")
            return path
        raise fault(f"must be the path of a folder, not {show(value)}", wants="text")

    @field_validator("seeds")
    @classmethod
    def _distinct_seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if twice := [seed for seed, times in Counter(seeds).items() if times > 1]:
            raise fault(f"must be distinct; given more than once: {', '.join(map(str, twice[:5]))}")
        return seeds

    @field_validator("tasks")
    @classmethod
    def _distinct_tasks(cls, tasks: tuple[Task, ...]) -> tuple[Task, ...]:
        ids: dict[str, str] = {}
        for task in tasks:
            # Case doesn't count: some file systems ignore it.
            if (other := ids.get(task.name.casefold())) is not None:
                raise fault(
                    f"{other} and {task.id} would share their files; put one of them into a study of its own, "
                    "with its own data folder"
                )
            ids[task.name.casefold()] = task.id
        return tasks

    @model_validator(mode="before")
    @classmethod
    def _names_own_groups(cls, value: object) -> object:
        """Check that mappings by group name groups of the algorithm, before it is checked that they name all."""
        algorithm = value.get("algorithm", DEFAULT_ALGORITHM) if isinstance(value, dict) else None
        if isinstance(value, dict) and algorithm in ALGORITHMS:
            for place, by_group in _mappings_by_group(value):
                named = [group for group in ALL_GROUPS if group in by_group]
                if named and not set(named) & set(GROUPS[algorithm]):
                    raise _of_others(place, named, algorithm)
        return value

    @model_validator(mode="after")
    def _only_what_is_read(self) -> Self:
        """Check that what this algorithm doesn't read is left out: networks, sections and keys of other algorithms."""
        own = f"the networks of {self.algorithm} are {' and '.join(self.groups)}"
        use = listed([f"network.{name}" for name in self.groups])
        found: list[tuple[KeyPath, str]] = [
            (("network", group), f"`network.{group}` is of another algorithm; {own}: use {use}")
            for group in ALL_GROUPS
            if group in self.network.model_fields_set and group not in self.groups
        ]
        places: list[tuple[KeyPath, Self | Task]] = [((), self)]
        places += [(("tasks", index), task) for index, task in enumerate(self.tasks)]
        for place, section in places:
            for name in ALGORITHMS:
                if name != self.algorithm and name in section.model_fields_set:
                    text = dotted((*place, name))
                    problem = f"`{text}` has settings of {name}, but `algorithm` is {self.algorithm}; remove `{text}`"
                    found.append(((*place, name), f"{problem}, or set `algorithm: {name}`"))
            for key, why in NOT_FOR_ROLLOUTS.items() if self.algorithm in ON_POLICY else ():
                if key in section.training.model_fields_set:
                    path = (*place, "training", key)
                    problem = f"`{dotted(path)}` doesn't apply to {self.algorithm}: {why}"
                    found.append((path, f"{problem}; remove it"))
        if found:
            raise _all_at(found, ("algorithm",))
        return self

    @model_validator(mode="after")
    def _own_groups(self) -> Self:
        """Let every sparsity have the shares of the algorithm's groups alone, and check that none names others."""

        def shares(place: KeyPath, given: Sparsity) -> Sparsity:
            if (found := given.restricted(self.groups)) is None:
                raise _of_others(place, given.by_group, self.algorithm)
            return found

        pruning = {"sparsity": shares(("pruning", "sparsity"), self.pruning.sparsity)}
        self.__dict__["pruning"] = self.pruning.model_copy(update=pruning)
        arms = []
        for index, recipe in enumerate(self.arms):
            if isinstance(recipe, PrunedRecipe):
                layers = recipe.allocation.layers
                if layers is not None and layers.by_group.keys() != set(self.groups):
                    raise _of_others(("arms", index, "allocation"), layers.by_group, self.algorithm)
                if recipe.sparsity is not None:
                    kept = tuple(shares(("arms", index, "sparsity"), one) for one in recipe.sparsity)
                    recipe = recipe.model_copy(update={"sparsity": kept})
            arms.append(recipe)
        self.__dict__["arms"] = tuple(arms)
        return self

    @model_validator(mode="after")
    def _masks_fit(self) -> Self:
        """Check that the masks of these networks can be saved and read."""
        numbers, layers = NETWORKS[self.algorithm], self.hidden_layers
        weights = sum(numbers[group] * one * after for group in layers for one, after in pairwise(layers[group]))
        if weights > MOST_WEIGHTS:
            raise _at(("network",), f"makes {weights:,} weights between hidden layers; the most is {MOST_WEIGHTS:,}")
        return self

    @model_validator(mode="after")
    def _updates_come_out_even(self) -> Self:
        """Check fractions of an update, before anything is compared with the steps of the first one."""
        for index, task in enumerate(self.tasks):
            training = self.training_for(task)
            steps = training.env_steps - training.warmup_steps
            fewest = needed_updates(self.hyperparameters_for(task)).updates
            if steps > 0 and (problem := training.updates_per_step.uneven(steps, fewest)):
                place, *others = self._given_places(index, _UPDATES[:1])
                raise _at(place, problem, *others)
        return self

    @model_validator(mode="after")
    def _arms_agree(self) -> Self:
        """Check the arms against each other and against the rest of the config."""
        if self.arms and "pruning" in self.model_fields_set:
            raise _at(("pruning",), "arms and pruning exclude each other; leave one of the two out")
        runs = len(self.tasks) * len(self.seeds) * (1 + len(self._checked_recipes()))
        if runs > MOST_RUNS:
            raise _at(("seeds",), f"with these tasks and arms, they make {runs:,} runs; the most is {MOST_RUNS:,}")
        for index, recipe in enumerate(self.arms):
            for task in self.tasks:
                for key, problem in _conflicts(recipe, self, task):
                    raise _at(("arms", index, *key), problem)  # the first is enough
        return self

    def _checked_recipes(self) -> list[Recipe]:
        """The recipes of `arms`, or of one of the two methods: both have the same controls."""
        try:
            return spread(self.arms) or recipes_for("magnitude", self.pruning)
        except RecipeError as error:
            if self.arms:
                raise _at(("arms", *error.place), str(error)) from None
            control = ("pruning", "controls", int(error.place[0]) - 1)
            raise _at(control, f"{error}; leave it out", ("pruning", "sparsity")) from None

    @model_validator(mode="after")
    def _contrasts_name_arms(self) -> Self:
        """Check that contrasts compare arms that the config lists. `pruning` has arms for each method that is run."""
        if self.contrasts and not self.arms:
            raise _at(("contrasts",), "compare arms of `arms`: list the arms there, and leave out `pruning`")
        names = dict.fromkeys(["dense", *(recipe.name or "" for recipe in self.recipes)])
        for index, problem in objections(self.contrasts, names):
            raise _at(("contrasts", index), problem)  # the first is enough
        return self

    @field_validator("arms")
    @classmethod
    def _some_arms(cls, arms: tuple[Recipe, ...]) -> tuple[Recipe, ...]:
        if not arms:
            raise fault("must have at least one entry; without this key, a study has the arms of pruning")
        return arms

    @model_serializer(mode="wrap")
    def _what_is_chosen(self, as_usual: Callable[[Self], dict[str, Any]]) -> dict[str, Any]:
        """Without the keys that don't apply to this study, as the records of earlier versions have it."""
        plain = as_usual(self)
        for section in (plain, *plain["tasks"]):
            for *parent, key in unread_keys(self.algorithm):
                (section.get(parent[0], {}) if parent else section).pop(key, None)
        if self.algorithm == DEFAULT_ALGORITHM:
            del plain["algorithm"]
        del plain["pruning" if self.arms else "arms"]
        if not self.contrasts:
            del plain["contrasts"]
        if not self.tracking.chosen:
            del plain["tracking"]
        return plain

    @model_validator(mode="after")
    def _keys_agree(self) -> Self:
        """Check keys against each other, for every task with its own settings."""
        errors: list[InitErrorDetails] = []
        for index, task in enumerate(self.tasks):
            training, own = self.training_for(task), self.hyperparameters_for(task)
            steps, warmup = training.env_steps, training.warmup_steps
            updates, waits = training.updates_by(steps), training.first_update
            interval, scored = self.evaluation.interval, self.evaluation.score_evaluations
            episodes = self.evaluation.episodes
            made = self.evaluation.number(steps)
            at_once = training.environments
            on_rollouts = isinstance(training, TrainingOnRollouts)
            counts = {"training.env_steps": steps, "training.warmup_steps": warmup, "evaluation.interval": interval}
            counts |= {"ppo.rollout_steps": training.stride} if on_rollouts else {}
            uneven = {key: value for key, value in counts.items() if value % at_once}
            evenly = {"ppo.rollout_steps": math.lcm(at_once, own.batch_size)}  # batches must divide it, too
            others = [f"{key} to {either_multiple(of, evenly.get(key, at_once))}" for key, of in uneven.items()]
            too_many = f"at most the evaluations of a run ({made}: one per {interval} steps in {steps})"
            rules = [
                (warmup < steps, f"warmup_steps ({warmup}) must be less than env_steps ({steps})", _WARMUP),
                (interval <= steps, f"interval ({interval}) must be at most env_steps ({steps})", _INTERVAL),
                (
                    made <= MOST_EVALUATIONS,
                    f"interval ({interval}) makes {made:,} evaluations of a run of {steps} steps; the most is "
                    f"{MOST_EVALUATIONS:,}",
                    _INTERVAL,
                ),
                (
                    (made + 1) * episodes <= MOST_EPISODES,
                    f"episodes ({episodes}) makes {(made + 1) * episodes:,} in all evaluations of a run; the most is "
                    f"{MOST_EPISODES:,}",
                    _EPISODES,
                ),
                (scored <= made, f"score_evaluations ({scored}) must be {too_many}", _SCORED),
                *_rules_of_rollouts(training, own),
                *_rules_of_updates(updates, own),
                *_rules_of_dqn(own),
                (
                    warmup >= steps or updates > 0 or on_rollouts,
                    f"updates_per_step ({training.updates_per_step}) makes the first update after step {waits}, but "
                    f"env_steps is {steps}; {at_the_least(max(steps - warmup, 1), needed_updates(own).updates)}",
                    _UPDATES,
                ),
                (
                    not uneven,
                    f"environments ({at_once}) must divide "
                    + " and ".join(f"{key} ({value})" for key, value in uneven.items())
                    + nearest_divisors(at_once, *counts.values(), most=MOST_ENVIRONMENTS)
                    + (f"; or set {listed(others, 'and')}" if others else ""),
                    _ENVIRONMENTS,
                ),
                (
                    at_once == 1 or not task.allow,
                    f"environments ({at_once}) needs episodes that follow from their seeds alone, but {task.id} allows "
                    f"{' and '.join(task.allow)}; set it to 1 for this task",
                    (("training", "environments"),),
                ),
                (
                    updates <= LARGEST_COUNT,
                    f"would make {updates:,} updates in a run; the most is {LARGEST_COUNT:,}",
                    _UPDATES_ON_ROLLOUTS if on_rollouts else _UPDATES,
                ),
            ]
            for holds, problem, keys in rules:
                if not holds:
                    places = self._given_places(index, keys)
                    errors.append(InitErrorDetails(type=fault(problem, places=places), loc=places[0], input=None))
        if errors:
            raise ValidationError.from_exception_data("Config", errors)
        return self

    def _given_places(self, index: int, keys: tuple[tuple[str, str], ...]) -> list[KeyPath]:
        """The places where the keys of a check were given, the task's own first. Defaults have no place."""
        task = self.tasks[index]
        own = {name: getattr(task, name).model_fields_set for name in ("training", *ALGORITHMS)}
        places: list[KeyPath] = [("tasks", index, *key) for key in keys if key[1] in own.get(key[0], ())]
        places += [key for key in keys if key[1] in getattr(self, key[0]).model_fields_set]
        return places or [keys[0]]


def _key_text(settings: Hyperparameters, key: str) -> str:
    """``rollout_steps (128)``, or ``rollout_steps (2048, its default)`` where no key gives it."""
    default = "" if key in settings.model_fields_set else ", its default"
    return f"{key} ({getattr(settings, key)}{default})"


def _rules_of_rollouts(training: Training, settings: Hyperparameters) -> Iterator[tuple[bool, str, KeyPaths]]:
    """Whether an on-policy algorithm's rollouts fit the training and their batches; the problem; keys to change."""
    if not isinstance(settings, PPOSettings):
        return
    rollout, batch, name = settings.rollout_steps, settings.batch_size, "ppo"
    rollout_text, batch_text = _key_text(settings, "rollout_steps"), _key_text(settings, "batch_size")
    steps, kept = (name, "rollout_steps"), training.capacity
    yield (
        rollout <= training.env_steps,
        f"{rollout_text} must be at most env_steps ({training.env_steps}): nothing would be learned",
        (steps, _STEPS),
    )
    yield (
        rollout % batch == 0,
        f"{batch_text} must divide {rollout_text}{nearest_divisors(batch, rollout)}",
        ((name, "batch_size"), steps),
    )
    yield (
        rollout <= kept or training.replay_capacity == "all",
        f"replay_capacity ({kept}) must be at least {rollout_text}: a rollout is learned from as a whole",
        (("training", "replay_capacity"), steps),
    )


def _rules_of_dqn(settings: Hyperparameters) -> Iterator[tuple[bool, str, KeyPaths]]:
    """Whether a deep Q-network explores less and less; the problem; keys to change."""
    if isinstance(settings, DQNSettings):
        start, end = settings.exploration_start, settings.exploration_end
        yield end <= start, f"exploration_end ({end:g}) must be at most exploration_start ({start:g})", _EXPLORATION


class NeededUpdates(NamedTuple):
    """The fewest updates until all of an agent has learned.

    Attributes:
        key: the setting that says so; "" for a single update.
        without: what happens with fewer.
    """

    updates: int
    key: str
    without: str


def needed_updates(settings: Hyperparameters) -> NeededUpdates:
    """How many updates these settings need."""
    if isinstance(settings, DQNSettings):
        return NeededUpdates(settings.target_interval, "target_interval", "its target would never be renewed")
    if isinstance(settings, TD3Settings):
        return NeededUpdates(settings.policy_delay, "policy_delay", "its actor would never be updated")
    return NeededUpdates(1, "", "")


def _rules_of_updates(updates: int, settings: Hyperparameters) -> Iterator[tuple[bool, str, KeyPaths]]:
    """Whether a run makes enough updates for all of an agent to learn; the problem; keys to change."""
    needed = needed_updates(settings)
    if needed.key and updates:  # another rule is about no updates at all
        text = _key_text(settings, needed.key)
        yield (
            needed.updates <= updates,
            f"{text} must be at most the updates of a run ({updates}): {needed.without}",
            _TARGET if isinstance(settings, DQNSettings) else _DELAY,
        )


def _conflicts(recipe: Recipe, config: Config, task: Task) -> Iterator[tuple[KeyPath, str]]:
    """The keys of a recipe that make no sense with the rest of the config on that task, and why."""
    training, evaluation = config.training_for(task), config.evaluation
    steps, warmup = training.env_steps, training.warmup_steps
    if isinstance(recipe, TransferRecipe):
        for key, problem in recipe.transfer.conflicts([task.id for task in config.tasks], config.seeds):
            yield ("transfer", key), problem
    if not isinstance(recipe, PrunedRecipe):
        return
    for group, shares in (recipe.allocation.layers.by_group if recipe.allocation.layers else {}).items():
        if len(shares) != (layers := len(getattr(config.network, group)) + 1):
            entries = f"{layers} entries, one for each layer that network.{group} makes"
            yield ("allocation", group), f"must have {entries}, not {len(shares)}"
    on_rollouts = isinstance(training, TrainingOnRollouts)
    if recipe.scoring is not None and recipe.scoring.needs_warmup:
        reads = f"{recipe.criterion} reads the {'first rollout' if on_rollouts else 'data of the warm-up'}"
        if warmup == 0 and not on_rollouts:
            yield ("criterion",), f"{reads}, but warmup_steps is 0; raise it"
        if training.capacity < steps:
            kept = f"the last {training.capacity} of {steps} transitions"
            yield ("criterion",), f"{reads}, but only {kept} are kept; set replay_capacity: all"
    if isinstance(recipe, SparseTrainingRecipe):
        for key, problem in recipe.updates.conflicts(training, evaluation.first_scored(steps)):
            yield ("schedule", recipe.kind, key), problem
    if step := recipe.rewind_step:
        # The remaining steps must be enough for the ticket's own warm-up, and for the evaluations that make its score.
        first, interval = training.first_update, evaluation.interval
        needed = max(first, interval, (evaluation.score_evaluations - 1) * interval + 1)
        if step < first:
            until = "until then the weights are the initial ones"
            after_warmup = f"above warmup_steps ({warmup})"
            possible = -(-first // training.stride) * training.stride
            least = f"at least {possible} (the first update{'' if possible == first else f' is at {first}'})"
            least = after_warmup if training.updates_every_step and possible == first else least
            yield ("rewind", "step"), f"must be {least}, not {step}: {until}"
        if step % training.stride:
            yield (
                ("rewind", "step"),
                f"must be a multiple of {training.stride_key}, not {step}{nearest_multiples(step, training.stride)}",
            )
        if step > steps - needed:
            yield (
                ("rewind", "step"),
                f"must leave the ticket at least {needed} of env_steps ({steps}), for "
                f"{f'a rollout ({first})' if on_rollouts else f'a warm-up ({warmup})'} and "
                f"score_evaluations ({evaluation.score_evaluations}), one per {evaluation.interval} steps, not {step}",
            )


def _mappings_by_group(plain: Mapping[str, Any]) -> Iterator[tuple[KeyPath, Mapping[str, Any]]]:
    """The sparsities and allocations by group in a config that is not yet validated, and their places."""
    pruning, arms = plain.get("pruning"), plain.get("arms")
    given: list[tuple[KeyPath, Any]] = []
    if isinstance(pruning, dict):
        given.append((("pruning", "sparsity"), pruning.get("sparsity")))
    for index, arm in enumerate(arms if isinstance(arms, list | tuple) else ()):
        if isinstance(arm, dict):
            given += [(("arms", index, key), arm.get(key)) for key in ("sparsity", "allocation")]
    for place, value in given:
        parts = [((*place, at), one) for at, one in enumerate(value)] if isinstance(value, list | tuple) else []
        yield from ((at, one) for at, one in [(place, value), *parts] if isinstance(one, dict))


def _of_others(place: KeyPath, named: Iterable[str], algorithm: AlgorithmName) -> ValidationError:
    """The error that a sparsity or an allocation names groups that are not those of the algorithm."""
    own = f"the networks of {algorithm} are {' and '.join(GROUPS[algorithm])}"
    hint = "; one number means all" if "sparsity" in place else ""
    return _at(place, f"`{dotted(place)}` names {' and '.join(named)}, but {own}{hint}", ("algorithm",))


def _at(place: KeyPath, problem: str, *others: KeyPath) -> ValidationError:
    """The error at that place, or at another one that the command line has set."""
    return _all_at([(place, problem)], *others)


def _all_at(found: Sequence[tuple[KeyPath, str]], *others: KeyPath) -> ValidationError:
    """The errors at those places, or at another one that the command line has set."""
    details = [
        InitErrorDetails(type=fault(problem, places=[place, *others]), loc=place, input=None)
        for place, problem in found
    ]
    return ValidationError.from_exception_data("Config", details)


def config_to_dict(config: Config) -> dict[str, Any]:
    """The settings in plain JSON types. `Config.model_validate` restores them."""
    return config.model_dump(mode="json")


def recorded_settings(config: Config) -> dict[str, Any]:
    """What is recorded and shown of the settings, in plain JSON types: not where this user's metrics are sent."""
    return {key: value for key, value in config_to_dict(config).items() if key != "tracking"}


def with_trackers(config: Config, names: Sequence[str]) -> Config:
    """`config` with these trackers too. Those that its `tracking` doesn't list have their defaults.

    Raises:
        ConfigError: there is no such tracker.
    """
    if unknown := [name for name in names if name not in TRACKERS]:
        hint = or_closest(unknown[0], TRACKERS)
        raise ConfigError(f"There is no tracker {unknown[0]!r}{hint or '; there are ' + ', '.join(TRACKERS)}")
    chosen = {name: {} for name in names} | config.tracking.model_dump()
    return config.model_copy(update={"tracking": Tracking.model_validate(chosen)})
