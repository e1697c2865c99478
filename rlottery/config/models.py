"""The settings of a study: validated models, and the loader that names file and line of every fault.

Nothing here imports JAX or an environment: the process that starts the workers reads its settings first.
"""

import difflib
import importlib.resources
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails

from rlottery.config.expand import RecipeError, spread
from rlottery.config.fields import (
    FILLED,
    Count,
    CountOrAll,
    CountOrAuto,
    CountOrZero,
    Fraction,
    NumberOrAuto,
    Positive,
    Seconds,
    Section,
    Sparsity,
    Switch,
    UpToOne,
    Widths,
    expects,
    fault,
)
from rlottery.config.recipes import Recipe
from rlottery.config.yaml_lines import Document, KeyPath, dotted, read_document, show
from rlottery.errors import ConfigError


class Pruning(Section):
    """How masks are made. Changing these adds tickets; dense agents stay as they are."""

    sparsity: Sparsity = Field(
        default=Sparsity(actor=0.8, critic=0.8),
        description="share of the kernel weights to prune, 0 to below 1, or {actor: s, critic: s}",
    )
    gradient_method: Annotated[Literal["taylor", "gradient", "magnitude"], expects("taylor, gradient or magnitude")] = (
        Field(default="taylor", description="score of a weight w with loss L: |w dL/dw|, |dL/dw| or |w|")
    )
    num_gradient_batches: Count = Field(default=100, description="replay batches the score is averaged over")
    gradient_batch_size: Count = Field(default=256, description="transitions per such batch")


class NetworkSettings(Section):
    """Hidden layers of the networks."""

    actor: Widths = Field(default=(256, 256), description="widths of the actor's hidden layers")
    critic: Widths = Field(default=(256, 256), description="widths of the hidden layers of either critic")


class SACSettings(Section):
    """Hyperparameters of soft actor-critic (Haarnoja et al. 2018, arXiv:1812.05905)."""

    discount: Fraction = Field(default=0.99, description="weight of the next step's value, 0 to below 1")
    polyak: UpToOne = Field(
        default=0.005, description="share of the online weights moved into the target at each update"
    )
    actor_learning_rate: UpToOne = Field(default=3e-4, description="Adam's step size, actor")
    critic_learning_rate: UpToOne = Field(default=3e-4, description="Adam's step size, critics")
    temperature_learning_rate: UpToOne = Field(default=3e-4, description="Adam's step size, temperature")
    initial_temperature: Positive = Field(default=1.0, description="weight of the entropy at the start")
    target_entropy: NumberOrAuto = Field(
        default="auto", description="entropy in nats held by the temperature; auto: -(action dimensions)"
    )
    batch_size: Count = Field(default=256, description="transitions per update")
    reward_scale: Positive = Field(default=1.0, description="factor on the rewards that the critic learns")


class Training(Section):
    """Length and shape of one run."""

    env_steps: Count = Field(default=25_000, description="environment steps of a run, warm-up included")
    warmup_steps: CountOrZero = Field(
        default=1_000, description="first steps, taken at random and without updates; fewer than env_steps"
    )
    updates_per_step: Count = Field(default=1, description="gradient updates per step after the warm-up")
    replay_capacity: CountOrAll = Field(default="all", description="transitions kept; all: every one")

    @property
    def capacity(self) -> int:
        """Transitions that the replay buffer holds."""
        return self.env_steps if self.replay_capacity == "all" else self.replay_capacity


class EvaluationSettings(Section):
    """When the deterministic policy is tried, and what counts."""

    interval: Count = Field(default=2_500, description="env steps between evaluations; at most env_steps")
    episodes: Count = Field(default=10, description="episodes per evaluation, the same ones every time")
    score_evaluations: Count = Field(default=3, description="last evaluations whose mean is a run's score")

    def number(self, env_steps: int) -> int:
        """Evaluations of a run: one per interval, the last one always at its end."""
        return -(-env_steps // self.interval)


class Verdict(Section):
    """What a study may conclude from. Read when a report is made: training knows nothing of it."""

    margin: UpToOne = Field(
        default=0.1, description="share of (dense - untrained) that a ticket may fall short by and count as not worse"
    )
    level: Annotated[float, Field(strict=True, gt=0, le=0.2), expects("a number above 0 and at most 0.2")] = Field(
        default=0.05, description="level of every one-sided test, before Holm's correction over arms and tasks"
    )
    least_seeds: Annotated[int, Field(strict=True, ge=3), expects("a whole number of at least 3")] = Field(
        default=5, description="seeds below which nothing is decided"
    )
    saturated_within: Fraction = Field(
        default=0.02,
        description="share of (dense - untrained) within which all runs of two arms lie below the best run of the task "
        "to count as tied at the ceiling; then the area under the curve decides",
    )
    threshold: UpToOne = Field(
        default=0.9, description="share of dense that steps-to-threshold counts the environment steps to"
    )
    resamples: Annotated[int, Field(strict=True, ge=100), expects("a whole number of at least 100")] = Field(
        default=2_000, description="bootstrap resamples behind each interval"
    )


_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_TASK_ID = re.compile(rf"(?!.*\.\.)(?=.{{1,128}}\Z)(?:{_PART}:)?(?:{_PART}/)?{_PART}")
_STUDY_NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


def file_name(task_id: str) -> str:
    """A task's id as a file name, and as a part of one."""
    return re.sub("[:/]", "_", task_id)


class Task(Section):
    """An environment to learn, with what differs from the study's settings."""

    id: str = Field(description="Gymnasium id, Meta-World task name, or module:Id to import a module first")
    kwargs: dict[str, Any] = Field(default={}, description="keyword arguments for making the environment")
    sac: SACSettings = Field(
        default=SACSettings(), description="keys of sac for this task; read through Config.sac_for"
    )
    training: Training = Field(
        default=Training(), description="keys of training for this task; read through Config.training_for"
    )

    @property
    def name(self) -> str:
        """The id as a file name."""
        return file_name(self.id)

    @model_validator(mode="before")
    @classmethod
    def _id_alone(cls, value: object) -> object:
        if isinstance(value, str):
            return {"id": value}
        if isinstance(value, dict | Task):
            return value
        raise fault(f"must be a task's id or a mapping with an id, not {show(value)}")

    @field_validator("id", mode="before")
    @classmethod
    def _safe_id(cls, value: object) -> object:
        if isinstance(value, str) and _TASK_ID.fullmatch(value):
            return value
        raise fault(
            f"must be an id such as drawer-close-v3, namespace/Id-v0 or module:Id-v0, made of letters, "
            f"digits, '_', '-' and '.', not {show(value)}"
        )

    @field_validator("kwargs")
    @classmethod
    def _plain_values(cls, value: dict[str, Any]) -> dict[str, Any]:
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise fault("may hold finite numbers, text, true, false, null, lists and mappings only") from None
        return value

    @field_serializer("sac", "training")
    def _what_was_given(self, value: BaseModel) -> dict[str, Any]:
        return value.model_dump(mode="json", exclude_unset=True)


_S = TypeVar("_S", bound=Section)


def _merged(base: _S, overrides: _S) -> _S:
    return base.model_copy(update={key: getattr(overrides, key) for key in overrides.model_fields_set})


_STEPS = ("training", "env_steps")
_WARMUP = (("training", "warmup_steps"),)
_INTERVAL = (("evaluation", "interval"),)
_SCORED = (("evaluation", "score_evaluations"), *_INTERVAL)


class Config(Section):
    """A study."""

    name: str = Field(default="study", description="names the study and enters its random streams")
    data: Path = Field(default=Path("data"), description="results folder, from the working directory")
    tasks: Annotated[tuple[Task, ...], FILLED] = Field(description="environments to learn")
    seeds: Annotated[tuple[CountOrZero, ...], FILLED] = Field(description="a run per task and seed")
    workers: CountOrAuto = Field(default="auto", description="runs at once; auto: one per core")
    device: Annotated[Literal["cpu", "cuda"], expects("cpu or cuda")] = Field(
        default="cpu", description="where networks are trained"
    )
    pruning: Pruning = Pruning()
    arms: tuple[Recipe, ...] = Field(default=(), description="recipes of tickets and controls, in the place of pruning")
    network: NetworkSettings = NetworkSettings()
    sac: SACSettings = SACSettings()
    training: Training = Training()
    evaluation: EvaluationSettings = EvaluationSettings()
    verdict: Verdict = Verdict()
    checkpoint_seconds: Seconds = Field(
        default=120.0, description="most seconds of a run's work that a kill may cost; 0: save after every episode"
    )
    keep_replay: Switch = Field(
        default=True,
        description="true keeps each dense agent's replay buffer; false deletes it once this command's stages of its "
        "task and seed are done",
    )

    @property
    def recipes(self) -> list[Recipe]:
        """One recipe for each arm that `arms` lists: named, and of one sparsity."""
        return spread(self.arms)

    @property
    def rewind_steps(self) -> tuple[int, ...]:
        """The steps of a dense run whose agent some arm goes back to, rising."""
        return tuple(sorted({recipe.rewind.step for recipe in self.arms if recipe.rewind.step}))

    def sac_for(self, task: Task) -> SACSettings:
        """SAC's settings with the task's own over the study's."""
        return _merged(self.sac, task.sac)

    def training_for(self, task: Task) -> Training:
        """The training settings with the task's own over the study's."""
        return _merged(self.training, task.training)

    @field_validator("name", mode="before")
    @classmethod
    def _safe_name(cls, value: object) -> object:
        if isinstance(value, str) and _STUDY_NAME.fullmatch(value):
            return value
        raise fault(f"must be 1 to 64 letters, digits, '_', '-' and single '.', not {show(value)}")

    @field_validator("data", mode="before")
    @classmethod
    def _folder(cls, value: object) -> object:
        if isinstance(value, str | Path) and (text := str(value)) and text.isprintable():
            return os.path.expanduser(text)
        raise fault(f"must be the path of a folder, not {show(value)}")

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
            # Without regard to case: some file systems have none.
            if (other := ids.get(task.name.casefold())) is not None:
                raise fault(
                    f"{other} and {task.id} would share their files; give one of them a study of its own, "
                    "with its own data folder"
                )
            ids[task.name.casefold()] = task.id
        return tasks

    @model_validator(mode="after")
    def _arms_agree(self) -> Self:
        """Checks across arms, and of arms against the rest of the config."""
        if self.arms and "pruning" in self.model_fields_set:
            raise _at(("pruning",), "arms says what is pruned, so pruning isn't read; leave one of the two out")
        try:
            spread(self.arms)
        except RecipeError as error:
            raise _at(("arms", *error.place), str(error)) from None
        for index, recipe in enumerate(self.arms):
            for task in self.tasks:
                if found := self._problem_of(recipe, task):
                    place, problem = found
                    raise _at(("arms", index, *place), problem)
        return self

    @field_validator("arms")
    @classmethod
    def _some_arms(cls, arms: tuple[Recipe, ...]) -> tuple[Recipe, ...]:
        if not arms:
            raise fault("must have at least one entry; without the key, the two arms of pruning are there")
        return arms

    def _problem_of(self, recipe: Recipe, task: Task) -> tuple[KeyPath, str] | None:
        """What the settings of a task, or the tasks and seeds of the study, leave no room for: the key, and why."""
        training = self.training_for(task)
        given = recipe.given_layers
        if given is not None:
            for group, shares in (("actor", given.actor), ("critic", given.critic)):
                layers = len(getattr(self.network, group)) + 1
                if len(shares) != layers:
                    problem = (
                        f"must have {layers} entries, one for each layer that network.{group} makes, not {len(shares)}"
                    )
                    return ("allocation", group), problem
        if recipe.scoring is not None and recipe.scoring.needs_warmup:
            reads = f"{recipe.criterion} scores with the data of the warm-up"
            if training.warmup_steps == 0:
                return ("criterion",), f"{reads}, but warmup_steps is 0; raise it"
            if training.capacity < training.env_steps:
                kept = f"the last {training.capacity} of {training.env_steps} transitions"
                return ("criterion",), f"{reads}, but only {kept} are kept; set replay_capacity: all"
        if recipe.transfer is not None and recipe.transfer.task is not None:
            if recipe.transfer.task not in (known := [task.id for task in self.tasks]):
                problem = f"must be a task of this study ({', '.join(known)}), not {show(recipe.transfer.task)}"
                return ("transfer", "task"), problem
            if len(known) == 1:
                return ("transfer", "task"), "the study's only task would get its own mask; add another task"
        if recipe.transfer is not None and recipe.transfer.seed and len(self.seeds) == 1:
            return ("transfer", "seed"), "there is no next seed; give the study more than one"
        if (chosen := recipe.schedule.in_training) is not None:
            _, end = recipe.schedule.window(training.env_steps, training.warmup_steps)
            if end <= training.warmup_steps + 1:
                problem = (
                    f"masks would change until step {end} (end x env_steps), but training begins after "
                    f"warmup_steps ({training.warmup_steps}); raise end, or lower warmup_steps"
                )
                return ("schedule", recipe.schedule.name, "end"), problem
            first = -(-(training.warmup_steps + 1) // chosen.interval) * chosen.interval
            if recipe.schedule.gradual is None and first >= end:
                when = f"between warmup_steps ({training.warmup_steps}) and step {end} (end x env_steps)"
                problem = f"masks would never move: no multiple of {chosen.interval} lies {when}; lower it"
                return ("schedule", recipe.schedule.name, "interval"), problem
            if recipe.schedule.gradual is not None and end > (scored := self._first_scored(training.env_steps)):
                problem = f"the score takes evaluations from step {scored} on, before the sparsity is reached ({end})"
                return ("schedule", "gradual", "end"), f"{problem}; lower end, or evaluation.score_evaluations"
        if recipe.rewind.step and (too_far := self._problem_of_rewinding(recipe.rewind.step, training)):
            return ("rewind", "step"), too_far
        return None

    def _first_scored(self, env_steps: int) -> int:
        """The step of the first evaluation that a run's score takes."""
        evaluation = self.evaluation
        index = evaluation.number(env_steps) - evaluation.score_evaluations + 1
        return min(index * evaluation.interval, env_steps)

    def _problem_of_rewinding(self, step: int, training: Training) -> str | None:
        """Why no ticket can go back to that step of its dense run."""
        steps, warmup, evaluation = training.env_steps, training.warmup_steps, self.evaluation
        if step <= warmup:
            return f"must be above warmup_steps ({warmup}), not {step}: until then the weights are the initial ones"
        # What is left has to hold the ticket's own warm-up, and the evaluations that make its score.
        needed = max(warmup + 1, evaluation.interval, (evaluation.score_evaluations - 1) * evaluation.interval + 1)
        if step > steps - needed:
            return (
                f"must leave the ticket at least {needed} of env_steps ({steps}), for a warm-up ({warmup}) and "
                f"score_evaluations ({evaluation.score_evaluations}), one per {evaluation.interval} steps, not {step}"
            )
        return None

    @model_serializer(mode="wrap")
    def _pruning_or_arms(self, as_usual: SerializerFunctionWrapHandler) -> dict[str, Any]:
        plain: dict[str, Any] = as_usual(self)
        del plain["pruning" if self.arms else "arms"]
        return plain

    @model_validator(mode="after")
    def _keys_agree(self) -> Self:
        """Checks across keys, for every task with its own settings."""
        errors: list[InitErrorDetails] = []
        for index, task in enumerate(self.tasks):
            training = self.training_for(task)
            steps, warmup = training.env_steps, training.warmup_steps
            interval, scored = self.evaluation.interval, self.evaluation.score_evaluations
            made = self.evaluation.number(steps)
            too_many = f"at most the evaluations of a run ({made}: one per {interval} steps in {steps})"
            rules = [
                (warmup < steps, f"warmup_steps ({warmup}) must be less than env_steps ({steps})", _WARMUP),
                (interval <= steps, f"interval ({interval}) must be at most env_steps ({steps})", _INTERVAL),
                (scored <= made, f"score_evaluations ({scored}) must be {too_many}", _SCORED),
            ]
            for holds, problem, keys in rules:
                if not holds:
                    places = self._given_places(index, (*keys, _STEPS))
                    errors.append(InitErrorDetails(type=fault(problem, places=places), loc=places[0], input=None))
        if errors:
            raise ValidationError.from_exception_data("Config", errors)
        return self

    def _given_places(self, index: int, keys: tuple[tuple[str, str], ...]) -> list[KeyPath]:
        """Where the keys were given that a task's check read, the task's own first: defaults have no line."""
        own = self.tasks[index].training.model_fields_set
        places: list[KeyPath] = [("tasks", index, *key) for key in keys if key[0] == "training" and key[1] in own]
        places += [key for key in keys if key[1] in getattr(self, key[0]).model_fields_set]
        return places or [keys[0]]


def _at(place: KeyPath, problem: str) -> ValidationError:
    return ValidationError.from_exception_data(
        "Config", [InitErrorDetails(type=fault(problem, places=[place]), loc=place, input=None)]
    )


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a study's YAML file and put `overrides` over it, each a `key.path=value` with a YAML value.

    Raises ConfigError, whose message has one line per fault: file and line (or the override), key, what is
    wrong and what is allowed.
    """
    document = read_document(Path(path))
    for override in overrides:
        document.override(override)
    config = None
    try:
        config = Config.model_validate(document.value)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            place = _place(details, document)
            document.fault(place, _problem(details))
    if config is None or document.faults:
        raise ConfigError(document.message())
    return config


def config_to_dict(config: Config) -> dict[str, Any]:
    """The settings in plain JSON types; `Config.model_validate` takes them back."""
    return config.model_dump(mode="json")


def default_config_text() -> str:
    """The commented YAML of the default study."""
    return (importlib.resources.files("rlottery.config") / "default_config.yaml").read_text(encoding="utf-8")


def _place(details: ErrorDetails, document: Document) -> KeyPath:
    """The key to blame: where several disagree, the one that the command line brought in."""
    places: list[KeyPath] = details.get("ctx", {}).get("places", [details["loc"]])
    return next((place for place in places if document.origin(place).override is not None), places[0])


def _problem(details: ErrorDetails) -> str:
    value = show(details["input"])
    match details["type"]:
        case "extra_forbidden":
            return _unknown_key(details["loc"])
        case "missing":
            return "missing; it has no default"
        case "model_type" | "dict_type":
            return f"must be a mapping of keys, not {value}"
        case "tuple_type":
            return f"must be a list, not {value}"
    return details["msg"]


def _unknown_key(path: KeyPath) -> str:
    section: Any = Config
    for part in path[:-1]:
        if isinstance(part, str):
            section = _section_of(section.model_fields[part].annotation)
    here, key = list(section.model_fields), str(path[-1])
    if close := difflib.get_close_matches(key, here, n=1):
        return f"unknown key; did you mean '{close[0]}'?"
    for name, field in Config.model_fields.items() if path[0] != "arms" else ():
        if key in getattr(_section_of(field.annotation), "model_fields", {}):
            return f"unknown key; did you mean '{dotted((name, key))}'?"
    if "." in key:
        return "unknown key; in a file keys are nested, not joined by dots"
    return f"unknown key; the keys here are {', '.join(here)}"


def _section_of(annotation: Any) -> Any:
    """The model inside an annotation such as `tuple[Task, ...]`, or None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_section_of, get_args(annotation))), None)
