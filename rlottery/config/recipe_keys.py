"""What keys of a recipe may say: rewinding, transfer of masks, and how survivors are shared among layers."""

import os
from collections.abc import Iterator, Sequence
from string import Formatter
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, field_validator, model_serializer, model_validator

from rlottery.config.fields import FILLED, CountOrZero, Fraction, Section, Text, listed, one_of
from rlottery.config.groups import GROUPS
from rlottery.config.numbers import fault
from rlottery.config.yaml_lines import show, show_keys
from rlottery.errors import or_closest

AllocationName = Literal["global", "uniform", "erk"]


def _list(value: object) -> object:
    if not isinstance(value, list | tuple):
        raise fault(f"must be a list, not {show(value)}")
    return value


_Shares = Annotated[tuple[Fraction, ...] | None, FILLED, BeforeValidator(_list)]
_LAYERS = "{actor: [0.5, 0.9, 0.5], critic: [0.5, 0.9, 0.5]}, or {q: [0.5, 0.9, 0.5]} of dqn"


class Rewind(Section):
    """What a ticket's weights are rewound to: a step of the dense run, 0 for its start, None for no rewinding."""

    step: CountOrZero | None = Field(default=0, description="environment steps; null: no rewinding")

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        if value == {} or isinstance(value, Rewind):
            return value
        if value in ("initial", "none"):
            return {"step": 0 if value == "initial" else None}
        step: Any = value.get("step") if isinstance(value, dict) and len(value) == 1 else None
        if type(step) in (int, float) and step > 0 and step == step // 1:
            return {"step": step}
        raise fault(
            f"must be initial, none, or {{step: k}} with a whole number of env steps above 0, not {show_keys(value)}"
            + or_closest(value, ("initial", "none"))
        )

    @model_serializer
    def _as_given(self) -> str | dict[str, int]:
        return {None: "none", 0: "initial"}.get(self.step) or {"step": self.step or 0}


class Transfer(Section):
    """Where a transferred mask comes from."""

    task: Text | None = Field(default=None, description="another task of this study")
    seed: Annotated[Literal["next"], one_of(("next",))] | None = Field(
        default=None, description="next: the next seed in the list; for the last seed, the first"
    )
    file: Text | None = Field(default=None, description="a mask file; {task} and {seed} in the path are filled in")

    @model_validator(mode="after")
    def _from_somewhere(self) -> Self:
        if self.task is None and self.seed is None and self.file is None:
            raise fault("must name a task, seed: next, or a file")
        if self.file is not None and (self.task is not None or self.seed is not None):
            raise fault("takes either a file, or a task and seed: next of this study")
        return self

    @field_validator("file")
    @classmethod
    def _path(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not value.strip() or not value.isprintable():
            raise fault(f"must be the path of a mask file, not {show(value)}")
        if os.path.expanduser(value).startswith("~"):
            raise fault(f"names a home folder that doesn't exist: {show(value)}")
        try:
            fields = [field[1:] for field in Formatter().parse(value) if field[1] is not None]
        except ValueError:
            fields = [("", "", None)]
        if any(field not in (("task", "", None), ("seed", "", None)) for field in fields):
            raise fault(f"may contain {{task}} and {{seed}}, and no other braces, not {show(value)}")
        return value

    def conflicts(self, tasks: Sequence[str], seeds: Sequence[int]) -> Iterator[tuple[str, str]]:
        """The keys that make no sense with the study's tasks and seeds, and why."""
        if self.task is not None and self.task not in tasks:
            yield "task", f"must be a task of this study ({', '.join(tasks)}), not {show(self.task)}"
        if self.task is not None and len(tasks) == 1:
            yield "task", "the study's only task would get its own mask; add another task"
        if self.seed and len(seeds) == 1:
            yield "seed", "there is no next seed; give the study more than one"

    @model_serializer
    def _as_given(self) -> dict[str, str]:
        return {key: value for key in ("task", "seed", "file") if (value := getattr(self, key)) is not None}


class LayerSparsities(Section):
    """Pruned share of each layer of each group of networks, from input to output. Two critics get the same."""

    actor: _Shares = Field(default=None, description="for the actor's layers")
    critic: _Shares = Field(default=None, description="for the layers of the critic, or of each")
    q: _Shares = Field(default=None, description="for the layers of the Q-network")

    @property
    def by_group(self) -> dict[str, tuple[float, ...]]:
        """Group -> the share of each of its layers."""
        return {group: shares for group, shares in self if shares is not None}


class Allocation(Section):
    """How many weights survive in each layer of a network: by a rule, or given for each layer; else the default."""

    rule: AllocationName | None = Field(default=None, description="global, uniform or erk")
    layers: LayerSparsities | None = Field(default=None, description="in place of a rule")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        if isinstance(value, Allocation):
            return value
        if value is None:
            return {}
        if isinstance(value, str) and value in get_args(AllocationName):
            return {"rule": value}
        if isinstance(value, dict) and any(value.keys() == set(groups) for groups in GROUPS.values()):
            return {"layers": LayerSparsities.model_validate(value)}
        raise fault(
            f"must be {listed(get_args(AllocationName))}, or the sparsity of each layer: {_LAYERS}, "
            f"not {show_keys(value)}{or_closest(value, get_args(AllocationName))}"
        )

    @model_serializer
    def _as_given(self) -> str | dict[str, Any] | None:
        return self.rule or (self.layers.model_dump(mode="json", exclude_none=True) if self.layers else None)
