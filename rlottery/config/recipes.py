"""Recipes: what an entry of the config's `arms:` may ask for."""

import os
import re
from string import Formatter
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

from pydantic import Field, field_validator, model_serializer, model_validator

from rlottery.config.fields import (
    FILLED,
    Count,
    Fraction,
    Section,
    Sparsity,
    Switch,
    Text,
    UpToOne,
    expects,
    fault,
    listed,
)
from rlottery.config.recipe_sense import problem_of
from rlottery.config.yaml_lines import show
from rlottery.errors import MaskError

if TYPE_CHECKING:
    from rlottery.pruning.criteria import Criterion

ControlName = Literal[
    "random",
    "random-erk",
    "shuffled",
    "first-layer",
    "inverted",
    "permuted-weights",
    "fresh-weights",
    "small-dense",
    "dense-again",
]
ScheduleName = Literal["one-shot", "iterative", "gradual", "set", "rigl"]
ROUND = ".round-"
"""Stands before the number in the name of a round of iterative pruning."""

_DYNAMIC: tuple[ScheduleName, ...] = ("gradual", "set", "rigl")
_NAME = re.compile(r"(?!.*\.\.)(?!.*\.\Z)[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_IMPORT_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_LAYERS = "{actor: [0.5, 0.9, 0.5], critic: [0.5, 0.9, 0.5]}"


class Iterative(Section):
    """Iterative magnitude pruning, and its like: prune some, rewind, train, prune some more."""

    rate: Annotated[UpToOne, Field(lt=1), expects("a number above 0 and below 1")] = Field(
        default=0.2, description="share of the surviving weights that each round prunes"
    )


class Gradual(Section):
    """Pruning during training, along the cubic of Zhu and Gupta (2017)."""

    start: Fraction = Field(default=0.2, description="share of training after which pruning begins")
    end: UpToOne = Field(default=0.75, description="share of training after which the sparsity is reached")
    interval: Count = Field(default=500, description="env steps between two prunings")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.start >= self.end:
            raise fault(f"start ({self.start:g}) must be below end ({self.end:g})")
        return self


class Rewiring(Section):
    """SET and RigL: sparse from the start, the weakest weights moved elsewhere now and then."""

    drop: Annotated[UpToOne, Field(lt=1), expects("a number above 0 and below 1")] = Field(
        default=0.3, description="share of each layer's survivors moved at first; a cosine takes it to 0"
    )
    end: UpToOne = Field(default=0.75, description="share of training after which the mask stays")
    interval: Count = Field(default=500, description="env steps between two moves")


class Schedule(Section):
    """When weights are pruned: at once if none of these is given."""

    iterative: Iterative | None = Field(default=None, description="in rounds, each trained to its end")
    gradual: Gradual | None = Field(default=None, description="while the ticket trains, dense at first")
    set: Rewiring | None = Field(default=None, description="sparse throughout, random weights regrown")
    rigl: Rewiring | None = Field(default=None, description="sparse throughout, weights of large gradients regrown")

    @property
    def in_training(self) -> Gradual | Rewiring | None:
        """What changes the masks while the ticket trains."""
        return self.gradual or self.set or self.rigl

    def window(self, env_steps: int, warmup_steps: int) -> tuple[int, int]:
        """The steps of training from which, and until which, masks change; they begin after the warm-up."""
        chosen, first = self.in_training, warmup_steps + 1
        assert chosen is not None
        begin = max(first, round(chosen.start * env_steps)) if isinstance(chosen, Gradual) else first
        return begin, round(chosen.end * env_steps)

    @property
    def name(self) -> ScheduleName:
        return next((name for name in _schedules() if getattr(self, name, None) is not None), "one-shot")

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        if value == {} or isinstance(value, Schedule):
            return value
        if value == "one-shot":
            return {}
        if isinstance(value, str) and value in _schedules():
            return {value: {}}
        if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _schedules()[1:]:
            return {name: {} if inner is None else inner for name, inner in value.items()}
        raise fault(
            f"must be {listed(_schedules())}, or one of them with its keys: {{rigl: {{drop: 0.5}}}}, "
            f"not {_shown(value)}"
        )

    @model_serializer
    def _as_given(self) -> str | dict[str, Any]:
        chosen = getattr(self, self.name, None)
        return "one-shot" if chosen is None else {self.name: chosen.model_dump()}


class Rewind(Section):
    """Where a ticket's weights go back to: a step of the dense run, 0 being its start; None goes nowhere."""

    step: Annotated[int, Field(strict=True, ge=0)] | None = Field(default=0, description="env steps; null: nowhere")

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        if value == {} or isinstance(value, Rewind):
            return value
        if value in ("initial", "none"):
            return {"step": 0 if value == "initial" else None}
        step = value.get("step") if isinstance(value, dict) and len(value) == 1 else None
        if isinstance(step, float) and step.is_integer():
            step = int(step)
        if type(step) is int and step > 0:
            return {"step": step}
        raise fault(
            f"must be initial, none, or {{step: k}} with a whole number of env steps above 0, not {_shown(value)}"
        )

    @model_serializer
    def _as_given(self) -> str | dict[str, int]:
        return {None: "none", 0: "initial"}.get(self.step) or {"step": self.step or 0}


class Transfer(Section):
    """Where a mask comes from that was made for something else."""

    task: Text | None = Field(default=None, description="another task of this study")
    seed: Annotated[Literal["next"], expects("next")] | None = Field(
        default=None, description="next: of the seed after this one in the list; of the first, after the last"
    )
    file: Text | None = Field(default=None, description="a mask file; {task} and {seed} in it are filled in")

    @model_validator(mode="after")
    def _from_somewhere(self) -> Self:
        if self.task is None and self.seed is None and self.file is None:
            raise fault("must name a task, seed: next, or a file")
        if self.file is not None and (self.task is not None or self.seed is not None):
            raise fault("takes a file alone, or a task and seed: next of this study")
        return self

    @field_validator("file")
    @classmethod
    def _path(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not value.strip() or not value.isprintable():
            raise fault(f"must be the path of a mask file, not {show(value)}")
        if os.path.expanduser(value).startswith("~"):
            raise fault(f"names a home folder that isn't there: {show(value)}")
        try:
            fields = [field[1:] for field in Formatter().parse(value) if field[1] is not None]
        except ValueError:
            fields = [("", "", None)]
        if any(field not in (("task", "", None), ("seed", "", None)) for field in fields):
            raise fault(f"may hold {{task}} and {{seed}}, and no other braces, not {show(value)}")
        return value

    @model_serializer
    def _as_given(self) -> dict[str, str]:
        return {key: value for key in ("task", "seed", "file") if (value := getattr(self, key)) is not None}


class LayerSparsities(Section):
    """Pruned share of each layer, from input to output; both critics take the same."""

    actor: Annotated[tuple[Fraction, ...], FILLED] = Field(description="of the actor's layers")
    critic: Annotated[tuple[Fraction, ...], FILLED] = Field(description="of either critic's layers")


AllocationName = Literal["global", "uniform", "erk"]


class Allocation(Section):
    """How the survivors are shared among a network's layers: by a rule, or given for each."""

    rule: AllocationName | None = Field(default=None, description="global, uniform or erk")
    layers: LayerSparsities | None = Field(default=None, description="in the place of a rule")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        if isinstance(value, Allocation):
            return value
        if isinstance(value, str) and value in get_args(AllocationName):
            return {"rule": value}
        if isinstance(value, dict) and value.keys() == LayerSparsities.model_fields.keys():
            return {"layers": LayerSparsities.model_validate(value)}
        raise fault(
            f"must be {listed(get_args(AllocationName))}, or the sparsity of each layer of both networks: {_LAYERS}, "
            f"not {_shown(value)}"
        )

    @model_serializer
    def _as_given(self) -> str | dict[str, Any]:
        return self.rule or (self.layers.model_dump(mode="json") if self.layers else {})


class Recipe(Section):
    """One entry of `arms:`. A ticket has a criterion or a schedule, a control what it is a control `of`."""

    name: Text | None = Field(default=None, description="of the arm; made from the other keys if left out")
    criterion: Text | None = Field(default=None, description="what scores the weights, or module:function")
    sparsity: tuple[Sparsity, ...] | None = Field(
        default=None, description="pruned share of the kernel weights, or {actor: s, critic: s}; a list: an arm each"
    )
    allocation: Allocation | None = Field(default=None, description="global, uniform, erk, or a share for each layer")
    floor: Count = Field(default=1, description="weights that survive in each layer at least; units if structured")
    structure: Annotated[Literal["weights", "units"], expects("weights or units")] = Field(
        default="weights", description="what is pruned: single weights, or whole hidden units"
    )
    batches: Count = Field(default=100, description="replay batches that a score is averaged over")
    batch_size: Count = Field(default=256, description="transitions per such batch")
    estimator: Annotated[Literal["mean-abs", "abs-mean"], expects("mean-abs or abs-mean")] | None = Field(
        default=None, description="of a gradient score: mean of absolute values, or absolute value of the mean"
    )
    schedule: Schedule = Field(default=Schedule(), description="one-shot, iterative, gradual, set or rigl")
    rewind: Rewind = Field(default=Rewind(), description="initial, {step: k} or none")
    rescale: Switch = Field(default=False, description="true corrects each unit's scale for the inputs it lost")
    control: Annotated[ControlName, expects(f"one of {', '.join(get_args(ControlName))}")] | None = Field(
        default=None, description="what differs from the arm that this stands beside"
    )
    of: Text | None = Field(default=None, description="the arm that this is a control of, or whose mask it takes")
    transfer: Transfer | None = Field(default=None, description="takes the mask of another task, seed or file")

    @field_validator("name")
    @classmethod
    def _file_name(cls, name: str | None) -> str | None:
        if name is None:
            return None
        if not _NAME.fullmatch(name) or ROUND in name.casefold() or name.casefold() == "dense":
            raise fault(
                f"must be 1 to 64 letters, digits, '_', '-' and single '.', and neither dense nor with "
                f"'{ROUND}' in it, not {show(name)}"
            )
        return name

    @field_validator("sparsity", mode="before")
    @classmethod
    def _one_or_more(cls, value: object) -> object:
        if isinstance(value, list | tuple):
            if not value:
                raise fault("must have at least one entry")
            return value
        # Validated here, so that a fault's place has no index that the file hasn't.
        return None if value is None else [Sparsity.model_validate(value)]

    @field_validator("criterion")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is None:
            return None
        if ":" in name and "/" not in name and not _IMPORT_PATH.fullmatch(name):
            raise fault(f"must be a criterion's name, or an import path such as my_module:my_score, not {show(name)}")
        try:
            _criterion(name)
        except MaskError as error:
            # What the user's own module said may have several lines.
            raise fault(" ".join(str(error).split())) from None
        return name

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if problem := problem_of(self):
            raise fault(problem)
        return self

    @model_serializer
    def _as_given(self) -> dict[str, Any]:
        given = {key: _plain(getattr(self, key)) for key in type(self).model_fields if key in self.model_fields_set}
        if self.sparsity is not None and len(self.sparsity) == 1:
            given["sparsity"] = given["sparsity"][0]
        return given

    @property
    def kind(self) -> str:
        """ "control", "transfer", or the schedule of a ticket."""
        return "control" if self.control else "transfer" if self.transfer else self.schedule.name

    @property
    def is_dynamic(self) -> bool:
        """Whether the mask is made while the ticket trains."""
        return self.kind in _DYNAMIC

    @property
    def scoring(self) -> "Criterion | None":
        """What scores the weights; None where nothing does."""
        return _criterion(self.criterion) if self.criterion else None

    @property
    def given_layers(self) -> LayerSparsities | None:
        """The sparsity of each layer, where that is what `allocation` says."""
        return self.allocation.layers if self.allocation else None

    @property
    def default_rule(self) -> AllocationName:
        """How the survivors are shared out where `allocation` doesn't say."""
        return "erk" if self.schedule.name in ("set", "rigl") else "global"

    @property
    def rule(self) -> AllocationName:
        """How the survivors are shared out, said or not; no matter where each layer's share is given."""
        return (self.allocation.rule if self.allocation else None) or self.default_rule

    @property
    def only_sparsity(self) -> Sparsity | None:
        """The sparsity of a recipe that has been spread out."""
        return self.sparsity[0] if self.sparsity else None

    def default_name(self) -> str:
        """What tells this arm from others: criterion and sparsity in per cent first, as in `taylor-95`."""
        if self.control or self.transfer:
            source = self.transfer.model_dump() if self.transfer else {}
            what = self.control or "-".join(f"{key}-{_file_part(value)}" for key, value in source.items())
            name = what if self.of is None else f"{what}-of-{self.of}"
            return name + "-rescaled" * (self.rescale and "rescale" in self.model_fields_set)
        parts = [_file_part((self.criterion or "magnitude").rpartition(":")[2])]
        if self.schedule.name in ("set", "rigl"):
            parts = [self.schedule.name]
        elif self.schedule.name != "one-shot":
            parts.insert(0, self.schedule.name)
        parts.append(percent(self.only_sparsity) if self.only_sparsity else "given")
        parts += [self.allocation.rule] if self.allocation and self.allocation.rule not in (None, "global") else []
        parts += ["units"] if self.structure == "units" else []
        parts += [self.estimator] if self.estimator else []
        if {"batches", "batch_size"} & self.model_fields_set and (self.batches, self.batch_size) != (100, 256):
            parts.append(f"{self.batches}x{self.batch_size}")
        parts += {0: [], None: ["fine-tuned"]}.get(self.rewind.step, [f"from-step-{self.rewind.step}"])
        return "-".join(parts + ["rescaled"] * self.rescale)


def percent(sparsity: Sparsity | None) -> str:
    """A sparsity as it stands in names: ``95``, or ``a95-c90`` where actor and critic differ."""
    if sparsity is None:
        return ""
    actor, critic = (f"{100 * share + 0:.10g}" for share in (sparsity.actor, sparsity.critic))
    return actor if actor == critic else f"a{actor}-c{critic}"


def _criterion(name: str) -> "Criterion":
    from rlottery.pruning.criteria import find_criterion  # NumPy, which a config without arms can do without

    return find_criterion(name)


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.model_dump(mode="json")
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _shown(value: object) -> str:
    """`show`, but with the keys of a mapping."""
    if isinstance(value, dict) and 0 < len(value) < 9 and all(isinstance(key, str) for key in value):
        return show(f"{{{', '.join(f'{key}: {_brief(inner)}' for key, inner in value.items())}}}")[1:-1]
    return show(value)


def _brief(value: object) -> str:
    return "..." if isinstance(value, dict | list | tuple) else show(value)


def _file_part(value: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", value).strip("-")[-40:]


def _schedules() -> tuple[ScheduleName, ...]:
    return get_args(ScheduleName)
