"""The settings of a study: validated models, and the loader that names file and line of every fault.

Nothing here imports JAX or an environment: the process that starts the workers reads its settings first.
"""

import difflib
import importlib.resources
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    WrapValidator,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from rlottery.errors import ConfigError
from rlottery.yaml_lines import Document, KeyPath, dotted, read_document, show

_T = TypeVar("_T")


def _fault(what: str, **context: object) -> PydanticCustomError:
    # Through a placeholder: braces in the text itself would be read as one.
    return PydanticCustomError("expected", "{what}", {"what": what, **context})


def _expects(what: str) -> WrapValidator:
    """Say what is allowed in one phrase, whichever of a type's constraints a value breaks."""

    def check(value: object, validate: Callable[[object], object]) -> object:
        try:
            return validate(value)
        except ValidationError:
            raise _fault(f"must be {what}, not {show(value)}") from None

    return WrapValidator(check)


def _integral(value: object) -> object:
    """Let `1e6` stand for an integer, as long as a float holds it exactly."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _filled(items: tuple[_T, ...]) -> tuple[_T, ...]:
    if not items:
        raise _fault("must have at least one entry")
    return items


_FILLED = AfterValidator(_filled)
_INTEGRAL = BeforeValidator(_integral)
_FINITE = Field(strict=True, allow_inf_nan=False)

Count = Annotated[int, Field(strict=True, ge=1), _INTEGRAL, _expects("a whole number of at least 1")]
CountOrZero = Annotated[int, Field(strict=True, ge=0), _INTEGRAL, _expects("a whole number of at least 0")]
CountOrAuto = Annotated[Count | Literal["auto"], _expects("a whole number of at least 1, or auto")]
CountOrAll = Annotated[Count | Literal["all"], _expects("a whole number of at least 1, or all")]
Positive = Annotated[float, _FINITE, Field(gt=0), _expects("a number above 0")]
Seconds = Annotated[float, _FINITE, Field(ge=0), _expects("a number of seconds of at least 0")]
UpToOne = Annotated[float, _FINITE, Field(gt=0, le=1), _expects("a number above 0 and at most 1")]
Fraction = Annotated[float, _FINITE, Field(ge=0, lt=1), _expects("a number from 0 to below 1")]
NumberOrAuto = Annotated[Annotated[float, _FINITE] | Literal["auto"], _expects("a number, or auto")]
Switch = Annotated[bool, Field(strict=True), _expects("true or false")]
Widths = Annotated[tuple[Count, ...], _FILLED]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sparsity(_Section):
    """Pruned share of the prunable weights of each network; one number in the YAML stands for both."""

    actor: Fraction = Field(description="pruned share of the actor's kernel weights")
    critic: Fraction = Field(description="pruned share of the kernel weights of the twin critic")

    @model_validator(mode="before")
    @classmethod
    def _one_for_both(cls, value: object) -> object:
        if isinstance(value, dict | Sparsity):
            return value
        share = TypeAdapter(Fraction).validate_python(value)
        return {"actor": share, "critic": share}

    @model_serializer
    def _shortest(self) -> float | dict[str, float]:
        # One form for one meaning, so that fingerprints of equal settings are equal.
        return self.actor if self.actor == self.critic else {"actor": self.actor, "critic": self.critic}


class Pruning(_Section):
    """How masks are made. Changing these adds tickets; dense agents stay as they are."""

    sparsity: Sparsity = Field(
        default=Sparsity(actor=0.8, critic=0.8),
        description="share of the kernel weights to prune, 0 to below 1, or {actor: s, critic: s}",
    )
    gradient_method: Annotated[
        Literal["taylor", "gradient", "magnitude"], _expects("taylor, gradient or magnitude")
    ] = Field(default="taylor", description="score of a weight w with loss L: |w dL/dw|, |dL/dw| or |w|")
    num_gradient_batches: Count = Field(default=100, description="replay batches the score is averaged over")
    gradient_batch_size: Count = Field(default=256, description="transitions per such batch")


class Network(_Section):
    """Hidden layers of the networks."""

    actor: Widths = Field(default=(256, 256), description="widths of the actor's hidden layers")
    critic: Widths = Field(default=(256, 256), description="widths of the hidden layers of either critic")


class SAC(_Section):
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


class Training(_Section):
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


class Evaluation(_Section):
    """When the deterministic policy is tried, and what counts."""

    interval: Count = Field(default=2_500, description="env steps between evaluations; at most env_steps")
    episodes: Count = Field(default=10, description="episodes per evaluation, the same ones every time")
    score_evaluations: Count = Field(default=3, description="last evaluations whose mean is a run's score")

    def number(self, env_steps: int) -> int:
        """Evaluations of a run: one per interval, the last one always at its end."""
        return -(-env_steps // self.interval)


_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_TASK_ID = re.compile(rf"(?!.*\.\.)(?=.{{1,128}}\Z)(?:{_PART}:)?(?:{_PART}/)?{_PART}")
_STUDY_NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


class Task(_Section):
    """An environment to learn, with what differs from the study's settings."""

    id: str = Field(description="Gymnasium id, Meta-World task name, or module:Id to import a module first")
    kwargs: dict[str, Any] = Field(default={}, description="keyword arguments for making the environment")
    sac: SAC = Field(default=SAC(), description="keys of sac for this task; read through Config.sac_for")
    training: Training = Field(
        default=Training(), description="keys of training for this task; read through Config.training_for"
    )

    @property
    def name(self) -> str:
        """The id as a file name."""
        return re.sub("[:/]", "_", self.id)

    @model_validator(mode="before")
    @classmethod
    def _id_alone(cls, value: object) -> object:
        if isinstance(value, str):
            return {"id": value}
        if isinstance(value, dict | Task):
            return value
        raise _fault(f"must be a task's id or a mapping with an id, not {show(value)}")

    @field_validator("id", mode="before")
    @classmethod
    def _safe_id(cls, value: object) -> object:
        if isinstance(value, str) and _TASK_ID.fullmatch(value):
            return value
        raise _fault(
            f"must be an id such as drawer-close-v3, namespace/Id-v0 or module:Id-v0, made of letters, "
            f"digits, '_', '-' and '.', not {show(value)}"
        )

    @field_validator("kwargs")
    @classmethod
    def _plain_values(cls, value: dict[str, Any]) -> dict[str, Any]:
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise _fault("may hold finite numbers, text, true, false, null, lists and mappings only") from None
        return value

    @field_serializer("sac", "training")
    def _what_was_given(self, value: BaseModel) -> dict[str, Any]:
        return value.model_dump(mode="json", exclude_unset=True)


_S = TypeVar("_S", bound=_Section)


def _merged(base: _S, overrides: _S) -> _S:
    return base.model_copy(update={key: getattr(overrides, key) for key in overrides.model_fields_set})


_STEPS = ("training", "env_steps")
_WARMUP = (("training", "warmup_steps"),)
_INTERVAL = (("evaluation", "interval"),)
_SCORED = (("evaluation", "score_evaluations"), *_INTERVAL)


class Config(_Section):
    """A study."""

    name: str = Field(default="study", description="names the study and enters its random streams")
    data: Path = Field(default=Path("data"), description="results folder, from the working directory")
    tasks: Annotated[tuple[Task, ...], _FILLED] = Field(description="environments to learn")
    seeds: Annotated[tuple[CountOrZero, ...], _FILLED] = Field(description="a run per task and seed")
    workers: CountOrAuto = Field(default="auto", description="runs at once; auto: one per core")
    device: Annotated[Literal["cpu", "cuda"], _expects("cpu or cuda")] = Field(
        default="cpu", description="where networks are trained"
    )
    pruning: Pruning = Pruning()
    network: Network = Network()
    sac: SAC = SAC()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    checkpoint_seconds: Seconds = Field(
        default=120.0, description="most seconds of a run's work that a kill may cost; 0: save after every episode"
    )
    keep_replay: Switch = Field(
        default=True,
        description="true keeps each dense agent's replay buffer; false deletes it once this command's stages of its "
        "task and seed are done",
    )

    def sac_for(self, task: Task) -> SAC:
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
        raise _fault(f"must be 1 to 64 letters, digits, '_', '-' and single '.', not {show(value)}")

    @field_validator("data", mode="before")
    @classmethod
    def _folder(cls, value: object) -> object:
        if isinstance(value, str | Path) and (text := str(value)) and text.isprintable():
            return os.path.expanduser(text)
        raise _fault(f"must be the path of a folder, not {show(value)}")

    @field_validator("seeds")
    @classmethod
    def _distinct_seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if twice := [seed for seed, times in Counter(seeds).items() if times > 1]:
            raise _fault(f"must be distinct; given more than once: {', '.join(map(str, twice[:5]))}")
        return seeds

    @field_validator("tasks")
    @classmethod
    def _distinct_tasks(cls, tasks: tuple[Task, ...]) -> tuple[Task, ...]:
        ids: dict[str, str] = {}
        for task in tasks:
            # Without regard to case: some file systems have none.
            if (other := ids.get(task.name.casefold())) is not None:
                raise _fault(
                    f"{other} and {task.id} would share their files; give one of them a study of its own, "
                    "with its own data folder"
                )
            ids[task.name.casefold()] = task.id
        return tasks

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
                    errors.append(InitErrorDetails(type=_fault(problem, places=places), loc=places[0], input=None))
        if errors:
            raise ValidationError.from_exception_data("Config", errors)
        return self

    def _given_places(self, index: int, keys: tuple[tuple[str, str], ...]) -> list[KeyPath]:
        """Where the keys were given that a task's check read, the task's own first: defaults have no line."""
        own = self.tasks[index].training.model_fields_set
        places: list[KeyPath] = [("tasks", index, *key) for key in keys if key[0] == "training" and key[1] in own]
        places += [key for key in keys if key[1] in getattr(self, key[0]).model_fields_set]
        return places or [keys[0]]


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
    return (importlib.resources.files("rlottery") / "default_config.yaml").read_text(encoding="utf-8")


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
    for name, field in Config.model_fields.items():
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
