"""Recipes: what an entry of the config's `arms:` may say. Each kind of arm has a model with the keys that it takes."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, model_serializer, model_validator

from rlottery.config.fields import Batch, Count, Section, Sparsity, Switch, Text, listed, one_of
from rlottery.config.numbers import fault
from rlottery.config.recipe_keys import Allocation, AllocationName, Rewind, Transfer
from rlottery.config.schedules import IN_TRAINING, InTraining, OneShot, PruningSchedule
from rlottery.config.yaml_lines import show
from rlottery.errors import MaskError, or_closest

if TYPE_CHECKING:
    from rlottery.pruning.controls import Control, Ticket
    from rlottery.pruning.criteria import Criterion

ROUND = ".round-"
"""Comes before the number in the name of a round of iterative pruning."""
KEYS = (
    *(
        "name",
        "criterion",
        "sparsity",
        "allocation",
        "floor",
        "structure",
        "reclaim",
        "batches",
        "batch_size",
        "estimator",
    ),
    *("schedule", "rewind", "rescale", "control", "of", "transfer"),
)
"""The keys of an entry of `arms:`, whatever its kind, in the order in which they are saved."""

_NAME = re.compile(r"(?!.*\.\.)(?!.*\.\Z)[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_IMPORT_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def _file_name(name: str | None) -> str | None:
    if name is not None and (not _NAME.fullmatch(name) or ROUND in name.casefold() or name.casefold() == "dense"):
        raise fault(
            f"must be 1 to 64 letters, digits, '_', '-' and single '.', and neither dense nor with "
            f"'{ROUND}' in it, not {show(name)}"
        )
    return name


def _one_or_more(value: object) -> object:
    if isinstance(value, list | tuple):
        if not value:
            raise fault("must have at least one entry")
        return value
    # Validated here, so that the place of a fault has no index that isn't in the file.
    return None if value is None else [Sparsity.model_validate(value)]


def _known_criterion(name: str | None) -> str | None:
    if name is None:
        return None
    if ":" in name and "/" not in name and not _IMPORT_PATH.fullmatch(name):
        raise fault(f"must be a criterion's name, or an import path such as my_module:my_score, not {show(name)}")
    try:
        _criterion(name)
    except MaskError as error:
        raise fault(str(error)) from None
    return name


def _known_control(value: object) -> object:
    known = list(_controls())
    if isinstance(value, str) and value in known:
        return value
    raise fault(f"must be one of {', '.join(known)}, not {show(value)}{or_closest(value, known)}")


ControlName = Annotated[str, BeforeValidator(_known_control)]
"""A kind of control."""

_RESCALE: Any = Field(default=False, description="true corrects each unit's scale for the inputs it lost")


class ArmRecipe(Section):
    """What the recipes of all kinds have in common."""

    name: Annotated[Text | None, AfterValidator(_file_name)] = Field(
        default=None, description="name of the arm; derived from the other keys by default"
    )

    @classmethod
    def takes_nothing_else(cls, given: Mapping[str, Any], others: Sequence[str]) -> str:
        """What to say of keys that belong to other kinds of arms."""
        return "of belongs to a control or a transfer; add one of them, such as control: random"

    @model_validator(mode="before")
    @classmethod
    def _own_keys(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        others = [key for key in KEYS if key in value and key not in cls.model_fields]
        if given := [key for key in others if value[key] is not None]:
            raise fault(cls.takes_nothing_else(value, given))
        return {key: inner for key, inner in value.items() if key not in others}

    @model_serializer(mode="wrap")
    def _as_given(self, as_usual: Callable[[Self], dict[str, Any]]) -> dict[str, Any]:
        plain = as_usual(self)
        given = {key: plain[key] for key in KEYS if key in self.model_fields_set}
        if self.only_sparsity is not None and len(given["sparsity"]) == 1:
            given["sparsity"] = given["sparsity"][0]
        return given

    @property
    def only_sparsity(self) -> Sparsity | None:
        """The sparsity of a recipe with one; None if it has none of its own."""
        return None


class PrunedRecipe(ArmRecipe):
    """What recipes that make a mask of their own have in common."""

    criterion: Annotated[Text | None, AfterValidator(_known_criterion)] = Field(
        default=None, description="what scores the weights, or module:function"
    )
    sparsity: Annotated[tuple[Sparsity, ...] | None, BeforeValidator(_one_or_more)] = Field(
        default=None,
        description="pruned share of the kernel weights, or {actor: s, critic: s}, or {q: s}; a list: one arm each",
    )
    allocation: Allocation = Field(
        default=Allocation.model_validate(None), description="global, uniform, erk, or the sparsity of each layer"
    )
    floor: Count = Field(default=1, description="minimum weights per layer; units if structured")
    structure: Annotated[Literal["weights", "units"], one_of(("weights", "units"))] = Field(
        default="weights", description="what is pruned: single weights, or whole hidden units"
    )
    schedule: PruningSchedule = Field(
        default=PruningSchedule(), description="one-shot, iterative, gradual, set or rigl"
    )
    rewind: Rewind = Field(default=Rewind(), description="initial, {step: k} or none")
    rescale: Switch = _RESCALE

    is_dynamic: ClassVar[bool]
    """Whether the mask is made while the agent trains."""

    @property
    def kind(self) -> str:
        """The schedule's name."""
        return self.schedule.chosen.name

    @property
    def is_one_shot(self) -> bool:
        """Whether all weights are pruned at once."""
        return isinstance(self.schedule.chosen, OneShot)

    @property
    def scoring(self) -> "Criterion | None":
        """What scores the weights; None if the schedule does so by itself, or an own function isn't imported yet."""
        return _criterion(self.criterion) if self.criterion else None

    @property
    def own_criterion(self) -> str | None:
        """The import path of the criterion, if it is a function of the user's own."""
        return self.criterion if self.criterion is not None and ":" in self.criterion else None

    @property
    def rewind_step(self) -> int | None:
        """The step that the weights are rewound to; None if they stay trained."""
        return self.rewind.step

    @property
    def rule(self) -> AllocationName:
        """The allocation, given or not; meaningless if each layer's sparsity is given."""
        return self.allocation.rule or self.schedule.chosen.default_rule

    @property
    def only_sparsity(self) -> Sparsity | None:
        return self.sparsity[0] if self.sparsity else None

    @property
    def layer_sparsities(self) -> Mapping[str, Sequence[float]]:
        """Group -> the sparsity of each layer, or of the whole group alone."""
        if self.allocation.layers is not None:
            return self.allocation.layers.by_group
        return {group: (share,) for group, share in (self.only_sparsity.by_group if self.only_sparsity else {}).items()}

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.allocation.layers is None and self.sparsity is None:
            raise fault("missing: sparsity, the share of the kernel weights to prune")
        if self.allocation.layers is not None and self.sparsity is not None:
            raise fault("the sparsity follows from the layers that allocation gives; leave one of the two out")
        if problem := self.schedule.chosen.objection(self) or self._problem():
            raise fault(problem)
        return self

    def _problem(self) -> str | None:
        """What else makes no sense."""
        return None

    def _name_parts(self) -> list[str]:
        """What the default name says of sparsity, allocation and structure."""
        parts = [percent(self.only_sparsity) if self.only_sparsity else "given"]
        parts += [self.allocation.rule] if self.allocation.rule not in (None, "global") else []
        return parts + (["units"] if self.structure == "units" else [])


class TicketRecipe(PrunedRecipe):
    """A ticket: a criterion scores the weights, at once or in rounds, and the survivors are rewound and trained."""

    reclaim: Switch = Field(
        default=False, description="true exchanges survivors on no path from input to output for weights on one"
    )
    batches: Batch = Field(default=100, description="replay batches that a score is averaged over")
    batch_size: Batch = Field(default=256, description="transitions per batch")
    estimator: Annotated[Literal["mean-abs", "abs-mean"], one_of(("mean-abs", "abs-mean"))] | None = Field(
        default=None, description="of a gradient score: mean of absolute values, or absolute value of the mean"
    )

    is_dynamic: ClassVar[bool] = False

    def _problem(self) -> str | None:
        known, given = self.scoring, {key for key in self.model_fields_set if getattr(self, key) is not None}
        if self.criterion is None:
            return "missing: criterion; `rlottery arms` lists them, or give your own function as module:function"
        if self.rescale and self.rewind.step != 0:
            return "rescale corrects the scale of initial weights; leave it out, or use rewind: initial"
        if self.reclaim and (problem := self._reclaims_nothing()):
            return f"{problem}; leave out reclaim"
        if known is None:
            return None  # checked once the function is imported (`import_criteria`)
        if known.reads_initial_weights and self.rewind.step != 0:
            return (
                f"{self.criterion} scores the weights as they are before training; leave out rewind, or use another "
                "criterion, such as magnitude"
            )
        if known.iterations > 1 and self.structure == "units":
            return f"{self.criterion} scores and prunes weights in turn; leave out structure: units"
        if known.signed and self.structure == "units":
            return f"{self.criterion} gives signed scores, which have no mean square; leave out structure: units"
        if not known.needs_data and (extra := given & {"batches", "batch_size", "estimator"}):
            return f"{self.criterion} reads no replay; leave out {listed(sorted(extra))}"
        if self.estimator is not None and not any("mean_abs_gradient" in name for name in known.reads):
            return f"{self.criterion} has its own estimator; leave out estimator"
        return None

    def _reclaims_nothing(self) -> str | None:
        """Why reclaiming makes no sense with the other keys."""
        if self.structure == "units":
            return "pruning whole units leaves no weight idle"
        if self.allocation.layers is not None:
            return "reclaim moves weights between layers, but allocation gives the sparsity of each"
        return "reclaim moves weights between layers and keeps no floor above 1" if self.floor > 1 else None

    def default_name(self) -> str:
        """What distinguishes this arm from others: criterion and sparsity in per cent first, as in `taylor-95`."""
        parts = [] if self.is_one_shot else [self.kind]
        parts += [_file_part((self.criterion or "").rpartition(":")[2]), *self._name_parts()]
        parts += [self.estimator] if self.estimator else []
        if {"batches", "batch_size"} & self.model_fields_set and (self.batches, self.batch_size) != (100, 256):
            parts.append(f"{self.batches}x{self.batch_size}")
        parts += {0: [], None: ["fine-tuned"]}.get(self.rewind.step, [f"from-step-{self.rewind.step}"])
        return "-".join(parts + ["reclaimed"] * self.reclaim + ["rescaled"] * self.rescale)


class SparseTrainingRecipe(PrunedRecipe):
    """Sparse training: the schedule makes the mask while the agent trains from its initial weights."""

    is_dynamic: ClassVar[bool] = True

    @classmethod
    def takes_nothing_else(cls, given: Mapping[str, Any], others: Sequence[str]) -> str:
        if "of" in others:
            return super().takes_nothing_else(given, others)
        if "reclaim" in others:
            return f"{_schedule_name(given)} changes its mask while the agent trains; leave out reclaim"
        return f"{_schedule_name(given)} reads no replay; leave out {listed(sorted(others))}"

    @property
    def updates(self) -> InTraining:
        """How the mask changes."""
        chosen = self.schedule.chosen
        assert isinstance(chosen, InTraining)
        return chosen

    def default_name(self) -> str:
        """What distinguishes this arm from others: the schedule and the sparsity in per cent, as in `rigl-95`."""
        scored_by = ["magnitude"] if self.schedule.chosen.default_rule == "global" else []
        return "-".join([self.kind, *scored_by, *self._name_parts()] + ["rescaled"] * self.rescale)


class DerivedRecipe(ArmRecipe):
    """What the recipes of controls and transfers have in common."""

    rescale: Switch = _RESCALE
    of: Text | None = Field(default=None, description="the ticket that it is a control of, or whose mask it takes")

    is_dynamic: ClassVar[bool] = False
    rewind_step: ClassVar[int] = 0

    def objection(self, ticket: "Ticket") -> str | None:
        """Why it makes no sense with that ticket; None if it does."""
        if not self.rescale or ticket.rewind_step == 0:
            return None
        return f"rescale corrects the scale of initial weights, and {ticket.name} doesn't start from them; leave it out"


class ControlRecipe(DerivedRecipe):
    """A control: an arm that differs from another one, its ticket, in one thing."""

    control: ControlName = Field(description="what differs from the ticket")

    kind: ClassVar[str] = "control"

    @property
    def about(self) -> "Control":
        """What the control is."""
        return _controls()[self.control]

    @classmethod
    def takes_nothing_else(cls, given: Mapping[str, Any], others: Sequence[str]) -> str:
        known = _controls().get(str(given.get("control")))
        reason = known.takes_nothing_else if known else "a control takes everything else from the arm it is `of`"
        return f"{reason}; leave out {listed(sorted(others))}"

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if "of" in self.about.takes and self.of is None:
            raise fault(f"a control needs the arm that it is compared with: of: NAME ({self.control})")
        given = {key for key in ("of", "rescale") if getattr(self, key)}
        if extra := given - set(self.about.takes):
            raise fault(f"{self.about.takes_nothing_else}; leave out {listed(sorted(extra))}")
        return self

    def objection(self, ticket: "Ticket") -> str | None:
        return super().objection(ticket) or self.about.objection(ticket)

    def default_name(self) -> str:
        """What distinguishes this arm from others: the control and its ticket."""
        name = self.control if self.of is None else f"{self.control}-of-{self.of}"
        return name + "-rescaled" * self.rescale


def named_control(control: str, of: str | None) -> ControlRecipe:
    """A control of this kind, of the ticket with this name if it is a control of one ticket at all."""
    takes = _controls()[control].takes
    return ControlRecipe.model_validate({"control": control} | ({"of": of} if "of" in takes else {}))


class TransferRecipe(DerivedRecipe):
    """A ticket whose mask was made for another task or seed, or comes from a file."""

    transfer: Transfer = Field(description="takes the mask of another task, seed or file")

    kind: ClassVar[str] = "transfer"

    @classmethod
    def takes_nothing_else(cls, given: Mapping[str, Any], others: Sequence[str]) -> str:
        return f"a transfer takes its mask as it is; leave out {listed(sorted(others))}"

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.transfer.file is None and self.of is None:
            raise fault("a transfer needs the arm whose mask it takes: of: NAME")
        if self.transfer.file is not None and self.of is not None:
            raise fault("a mask from a file belongs to no arm of this study; leave out `of`, or the file")
        return self

    def default_name(self) -> str:
        """What distinguishes this arm from others: where the mask comes from."""
        name = "-".join(f"{key}-{_file_part(value)}" for key, value in self.transfer.model_dump().items())
        return (name if self.of is None else f"{name}-of-{self.of}") + "-rescaled" * self.rescale

    def as_ticket(self, source: TicketRecipe | SparseTrainingRecipe) -> "Ticket":
        """The mask that it takes, as its controls see their ticket.

        Args:
            source: the arm that the mask is made for.
        """
        from rlottery.pruning.controls import GivenMask  # here, as below

        return GivenMask(self.name, source.layer_sparsities, source.structure, source.rewind_step)


Recipe: TypeAlias = TicketRecipe | SparseTrainingRecipe | ControlRecipe | TransferRecipe


def parse_recipe(value: object) -> Recipe:
    """The recipe of an entry of `arms:`; its keys say of which kind it is.

    Raises:
        ValidationError: names the key at fault.
    """
    if isinstance(value, Recipe):
        return value
    if not isinstance(value, dict):
        raise fault(f"must be a mapping of keys, not {show(value)}")
    kind: type[Recipe] = TicketRecipe
    if value.get("control") is not None:
        kind = ControlRecipe
    elif value.get("transfer") is not None:
        kind = TransferRecipe
    elif _schedule_name(value) in IN_TRAINING:
        kind = SparseTrainingRecipe
    return kind.model_validate(value)


def percent(sparsity: Sparsity | None) -> str:
    """A sparsity as names have it: ``95``, or ``a95-c90`` if actor and critic differ."""
    if sparsity is None:
        return ""
    shares = {group: f"{100 * share + 0:.10g}" for group, share in sparsity.by_group.items()}
    if len(set(shares.values())) == 1:
        return next(iter(shares.values()))
    return "-".join(f"{group[0]}{share}" for group, share in shares.items())


def _schedule_name(given: Mapping[str, Any]) -> object:
    schedule = given.get("schedule")
    if isinstance(schedule, PruningSchedule):
        return schedule.chosen.name
    return next(iter(schedule), None) if isinstance(schedule, dict) else schedule


def _criterion(name: str) -> "Criterion | None":
    from rlottery.pruning.criteria import known_criterion  # here, so that `import rlottery.config` needs no NumPy

    return known_criterion(name)


def _controls() -> "dict[str, Control]":
    from rlottery.pruning.controls import CONTROLS  # as above

    return CONTROLS


def _file_part(value: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", value).strip("-")[-40:]
