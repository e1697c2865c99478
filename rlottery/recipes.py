"""Recipes: what an entry of the config's `arms:` may ask for, and which of it makes sense together."""

import os
import re
from collections.abc import Mapping, Sequence
from math import ceil, log1p
from string import Formatter
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

from pydantic import Field, field_validator, model_serializer, model_validator

from rlottery.errors import MaskError
from rlottery.fields import FILLED, Count, Fraction, Section, Sparsity, Switch, Text, UpToOne, expects, fault
from rlottery.yaml_lines import show

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
DYNAMIC: tuple[ScheduleName, ...] = ("gradual", "set", "rigl")
"""Schedules whose masks change while the ticket trains; they need no dense agent but its initial weights."""
ROUND = ".round-"
"""Stands before the number in the name of a round of iterative pruning."""
MAX_ROUNDS = 100
"""Of iterative pruning: each is a whole training."""

_NAME = re.compile(r"(?!.*\.\.)(?!.*\.\Z)[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_IMPORT_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_LAYERS = "{actor: [0.5, 0.9, 0.5], critic: [0.5, 0.9, 0.5]}"
_DATA_KEYS = {"batches", "batch_size", "estimator"}
_OTHER_MASK = ("random", "random-erk", "shuffled", "first-layer", "inverted")
"""Controls whose mask is to differ from the ticket's."""
_INITIAL = "as they are before training"


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
            f"must be {_listed(_schedules())}, or one of them with its keys: {{rigl: {{drop: 0.5}}}}, "
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
            f"must be {_listed(get_args(AllocationName))}, or the sparsity of each layer of both networks: {_LAYERS}, "
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
        if problem := self._problem():
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
    def scoring(self) -> "Criterion | None":
        """What scores the weights; None where nothing does."""
        return _criterion(self.criterion) if self.criterion else None

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

    def _problem(self) -> str | None:
        """What makes no sense in this recipe, in words that name the mend."""
        given = {key for key in self.model_fields_set - {"name"} if getattr(self, key) is not None}
        if self.control is not None:
            return self._problem_of_control(given)
        if self.transfer is not None:
            return self._problem_of_transfer(given)
        if self.of is not None:
            return "of belongs to a control or a transfer; name it: control: random, say"
        return self._problem_of_ticket(given)

    def _problem_of_control(self, given: set[str]) -> str | None:
        if self.control == "dense-again":
            if extra := given - {"control"}:
                return f"dense-again is the dense agent with other data; leave out {_listed(sorted(extra))}"
            return None
        if self.of is None:
            return f"a control needs the arm that it stands beside: of: NAME ({self.control})"
        if extra := given - {"control", "of", "rescale"}:
            return f"a control takes everything else from the arm it is `of`; leave out {_listed(sorted(extra))}"
        if self.control == "small-dense" and self.rescale:
            return "small-dense has no mask to correct the scale for; leave out rescale"
        return None

    def _problem_of_transfer(self, given: set[str]) -> str | None:
        assert self.transfer is not None
        if self.transfer.file is None and self.of is None:
            return "a transfer needs the arm whose mask it takes: of: NAME"
        if self.transfer.file is not None and self.of is not None:
            return "a mask from a file is of no arm of this study; leave out `of`, or the file"
        if extra := given - {"transfer", "of", "rescale"}:
            return f"a transfer takes its mask as it is; leave out {_listed(sorted(extra))}"
        return None

    def _problem_of_ticket(self, given: set[str]) -> str | None:
        schedule = self.schedule.name
        layers = self.allocation.layers if self.allocation else None
        if layers is None and self.sparsity is None:
            return "missing: sparsity, the share of the kernel weights to prune"
        if layers is not None and self.sparsity is not None:
            return "the sparsity follows from the layers that allocation gives; leave one of the two out"
        if layers is not None and schedule in ("iterative", "gradual"):
            return f"{schedule} pruning needs one sparsity to go towards; give sparsity, and allocation by a rule"
        if self.structure == "units":
            if schedule != "one-shot":
                return f"whole units are pruned at once; leave out structure: units, or schedule: {schedule}"
            if self.allocation is not None and self.allocation.rule not in ("global", "uniform"):
                return "structure: units takes allocation: global or uniform"
        if schedule != "one-shot" and any(one.actor == one.critic == 0 for one in self.sparsity or ()):
            return f"a sparsity of 0 prunes nothing, which makes no sense of schedule: {schedule}"
        if schedule in DYNAMIC:
            return self._problem_of_dynamic(given, schedule)
        return self._problem_of_scored(given, schedule)

    def _problem_of_dynamic(self, given: set[str], schedule: str) -> str | None:
        if "rewind" in given and self.rewind.step != 0:
            return f"{schedule} makes its mask while it trains from the initial weights; leave out rewind"
        if schedule == "gradual":
            if self.criterion not in (None, "magnitude"):
                return "gradual pruning is by magnitude, of the weights as they are at that moment; leave out criterion"
            if self.rescale:
                return "gradual pruning starts dense: there is no scale to correct; leave out rescale"
        elif self.criterion is not None:
            return f"{schedule} drops by magnitude and grows by its own rule; leave out criterion"
        elif self.allocation is not None and self.allocation.rule == "global":
            return f"{schedule} starts from a random mask, which has no scores to rank globally; use erk or uniform"
        if self.allocation is not None and self.allocation.layers is not None:
            return f"{schedule} takes allocation: erk or uniform"
        if extra := given & _DATA_KEYS:
            return f"{schedule} scores no replay; leave out {_listed(sorted(extra))}"
        return None

    def _problem_of_scored(self, given: set[str], schedule: str) -> str | None:
        if self.criterion is None:
            return "missing: criterion; `rlottery arms` lists them, or name a function of your own: module:function"
        if self.rescale and self.rewind.step != 0:
            return "rescale corrects the scale of initial weights; leave it out, or rewind: initial"
        if self.schedule.iterative is not None and (rounds := self._rounds(self.schedule.iterative.rate)) > MAX_ROUNDS:
            made = f"{rounds:,}" if rounds < 1e6 else "millions of"
            return f"schedule.iterative.rate makes {made} rounds, more than {MAX_ROUNDS}; raise it"
        known = _criterion(self.criterion)
        if known.before_training and known.reads != ("random",):
            if self.rewind.step != 0:
                return f"{self.criterion} scores the weights {_INITIAL}; leave out rewind, or score by magnitude, say"
            if schedule == "iterative":
                return f"{self.criterion} scores the weights {_INITIAL}, but iterative pruning scores trained ones"
        if known.iterations > 1 and self.structure == "units":
            return f"{self.criterion} scores and prunes weights in turn; leave out structure: units"
        if known.signed and self.structure == "units":
            return f"{self.criterion} gives scores with signs, which units have no mean square of; leave out structure"
        if (extra := given & _DATA_KEYS) and not known.needs_data:
            return f"{self.criterion} reads no replay; leave out {_listed(sorted(extra))}"
        if self.estimator is not None and not any("mean_abs_gradient" in name for name in known.reads):
            return f"{self.criterion} has its own estimator; leave out estimator"
        return None

    def _rounds(self, rate: float) -> int:
        """Rounds of iterative pruning, to within one."""
        highest = max(max(one.actor, one.critic) for one in self.sparsity or ())
        return ceil(log1p(-highest) / log1p(-rate))


def spread(recipes: Sequence[Recipe]) -> list[Recipe]:
    """One recipe for each arm: lists of sparsities spread out, every arm named.

    A control of an arm with several sparsities becomes one for each.

    Raises:
        RecipeError: two arms of one name, or an `of` that names no ticket; says which recipe, and which key.
    """
    tickets: dict[str, list[Recipe]] = {}
    found: list[tuple[int, Recipe]] = []
    for index, recipe in enumerate(recipes):
        if recipe.kind in ("control", "transfer"):
            continue
        each = [recipe.model_copy(update={"sparsity": (one,)}) for one in recipe.sparsity or ()] or [recipe]
        named = [_named(one, recipe.name, len(each) > 1) for one in each]
        found += [(index, one) for one in named]
        tickets[recipe.name or named[0].name or ""] = named
        if len(named) > 1:
            tickets |= {one.name or "": [one] for one in named}
        elif recipe.name is None:
            tickets[named[0].name or ""] = named
    for index, recipe in enumerate(recipes):
        if recipe.kind not in ("control", "transfer"):
            continue
        if recipe.of is None:
            found.append((index, recipe.model_copy(update={"name": recipe.name or recipe.default_name()})))
            continue
        if recipe.of not in tickets:
            raise RecipeError(index, _no_ticket(recipe.of, recipes, tickets), "of")
        targets = tickets[recipe.of]
        for target in targets:
            if problem := _problem_of_pair(recipe, target):
                raise RecipeError(index, problem)
            suffix = f"-{percent(target.only_sparsity)}" if len(targets) > 1 and target.only_sparsity else ""
            one = recipe.model_copy(update={"of": target.name})
            name = f"{recipe.name}{suffix}" if recipe.name else one.default_name()
            found.append((index, one.model_copy(update={"name": name})))
    found.sort(key=lambda pair: pair[0])
    _check_names(recipes, found)
    return [recipe for _, recipe in found]


class RecipeError(ValueError):
    """What is wrong with the recipe at `index`; `place` is its index, and the key to blame if it is one."""

    def __init__(self, index: int, problem: str, *key: str):
        super().__init__(problem)
        self.place: tuple[int | str, ...] = (index, *key)


def percent(sparsity: Sparsity | None) -> str:
    """A sparsity as it stands in names: ``95``, or ``a95-c90`` where actor and critic differ."""
    if sparsity is None:
        return ""
    actor, critic = (f"{100 * share + 0:.10g}" for share in (sparsity.actor, sparsity.critic))
    return actor if actor == critic else f"a{actor}-c{critic}"


def _named(recipe: Recipe, name: str | None, several: bool) -> Recipe:
    full = f"{name}-{percent(recipe.only_sparsity)}" if name and several else name or recipe.default_name()
    return recipe.model_copy(update={"name": full})


def _no_ticket(name: str, recipes: Sequence[Recipe], tickets: Mapping[str, object]) -> str:
    """Why no control can stand beside an arm of that name."""
    known = f"this study's are {', '.join(tickets)}" if tickets else "this study has none"
    for recipe in recipes:
        if recipe.kind in ("control", "transfer") and name == (recipe.name or recipe.default_name()):
            return f"must name a ticket, and {name} is a {recipe.kind}; {known}"
    return f"there is no ticket {show(name)}; {known}"


def _check_names(recipes: Sequence[Recipe], found: Sequence[tuple[int, Recipe]]) -> None:
    """Raises RecipeError if two arms have one name, be it given, made, or that of a list of sparsities."""
    said = [(index, recipe.name) for index, recipe in enumerate(recipes) if recipe.name]
    made = [(index, recipe.name) for index, recipe in found if recipe.name and recipe.name != recipes[index].name]
    names: dict[str, int] = {}
    for index, name in sorted([*said, *made], key=lambda pair: pair[0]):
        # Without regard to case: some file systems have none.
        other = names.setdefault(name.casefold(), -1)
        if other == index:
            raise RecipeError(index, f"two of its sparsities would both be called {name}; leave one of them out")
        if other >= 0:
            raise RecipeError(index, f"this arm and arms.{other} are both called {name}; give one of them another name")
        names[name.casefold()] = index


def _problem_of_pair(recipe: Recipe, of: Recipe) -> str | None:
    """What makes no sense in a control, or a transfer, of that ticket."""
    if recipe.rescale and of.rewind.step != 0:
        return f"rescale corrects the scale of initial weights, and {of.name} doesn't start from them; leave it out"
    if recipe.transfer is not None:
        return None
    if recipe.control in _OTHER_MASK and (problem := _nothing_to_move(recipe, of)):
        return problem
    if recipe.control == "inverted":
        if of.kind != "one-shot":
            return f"inverted needs the scores of a one-shot mask; {of.name} has none"
        if of.scoring is not None and of.scoring.iterations > 1:
            return f"{of.criterion} scores and prunes in turn: there is no one score to invert"
    if recipe.control in ("fresh-weights", "permuted-weights") and of.kind in DYNAMIC:
        return f"{of.name} makes its mask as it trains: with another start, it would make another one; use random"
    if recipe.control in ("fresh-weights", "permuted-weights") and of.rewind.step != 0:
        return f"{recipe.control} replaces the initial weights, and {of.name} doesn't start from them"
    if recipe.control in ("random-erk", "shuffled", "first-layer") and of.structure == "units":
        return f"{recipe.control} moves single weights, and {of.name} prunes whole units; use random"
    return None


def _nothing_to_move(recipe: Recipe, of: Recipe) -> str | None:
    """Why a control with another mask than the ticket's would have the ticket's own."""
    layers = of.allocation.layers if of.allocation else None
    if layers is None:
        nothing = of.only_sparsity is not None and of.only_sparsity.actor == of.only_sparsity.critic == 0
    else:
        nothing = not any(layers.actor + layers.critic)
        if recipe.control == "shuffled" and any(layers.critic) and not any(layers.critic[:-1]):
            return f"{of.name} prunes the critics' last layer alone, which has one mask of those degrees; use random"
        for group, shares in (("actor", layers.actor), ("critic", layers.critic)):
            if recipe.control == "first-layer" and shares[0] and not any(shares[1:]):
                return f"{of.name} prunes nothing behind the {group}'s first layer, so there is nothing to shuffle"
    return f"{of.name} prunes nothing, so {recipe.control} would have its very mask" if nothing else None


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


def _listed(names: Sequence[str]) -> str:
    *rest, last = names
    return f"{', '.join(rest)} or {last}" if rest else last
