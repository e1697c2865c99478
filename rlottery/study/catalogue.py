"""What an arm may ask for, by the question that it answers: told by `rlottery arms`, and in docs/arms.md."""

from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Group
from rich.table import Table
from rich.text import Text

from rlottery.pruning.controls import CONTROLS
from rlottery.pruning.criteria import CRITERIA
from rlottery.pruning.method import Method
from rlottery.pruning.schedules import SCHEDULES

ALLOCATIONS: dict[str, Method] = {
    "global": Method(
        summary="all layers of a network's group compete in one ranking",
        paper="Han et al. 2015, Learning both Weights and Connections for Efficient Neural Networks",
        cost="none",
        use="The default wherever weights have scores.",
    ),
    "uniform": Method(
        summary="every layer keeps the same share",
        paper="Zhu and Gupta 2017, To prune, or not to prune",
        cost="none",
        use="Where global would empty a layer, and for sparse kernels that want layers alike.",
    ),
    "erk": Method(
        summary="a layer's density goes with (inputs + outputs) / (inputs x outputs): small layers keep more",
        paper="Mocanu et al. 2018, SET; Evci et al. 2020, Rigging the Lottery",
        cost="none",
        use="The default of set and rigl. Graesser et al. 2022 found it better than uniform for agents.",
    ),
    "{actor: [...]}": Method(
        summary="a share for each layer of actor and critic, from input to output, in the place of sparsity",
        paper="-",
        cost="none",
        use="To ask what one layer can do without.",
    ),
}
REWINDS: dict[str, Method] = {
    "initial": Method(
        summary="the dense agent's initial weights, and its whole budget of steps",
        paper="Frankle and Carbin 2019, The Lottery Ticket Hypothesis",
        cost="none",
        use="The default: the lottery's own question.",
    ),
    "{step: k}": Method(
        summary="the dense agent as it was at step k, with a fresh optimiser, an empty buffer and the steps after k",
        paper="Frankle et al. 2020, Linear Mode Connectivity and the Lottery Ticket Hypothesis",
        cost="one saved agent; k steps, if the dense run is done already and has none",
        use="Where tickets from the initial weights fail.",
    ),
    "none": Method(
        summary="the trained weights, pruned: fine-tuning, for a whole budget more",
        paper="Renda et al. 2020, Comparing Rewinding and Fine-tuning in Neural Network Pruning",
        cost="none, but the agent has had two budgets",
        use="When a small policy is wanted and not a claim about tickets.",
    ),
}
STRUCTURES: dict[str, Method] = {
    "weights": Method(
        summary="single weights",
        paper="Han et al. 2015",
        cost="none",
        use="The default: the most is kept at a sparsity.",
    ),
    "units": Method(
        summary="whole hidden units, by the root mean square of their weights' scores",
        paper="Li et al. 2017, Pruning Filters for Efficient ConvNets; Fang et al. 2023, DepGraph",
        cost="none",
        use="When the small policy should be a small dense one, on any hardware.",
    ),
}
OTHERS: dict[str, Method] = {
    "rescale: true": Method(
        summary="initial weights times sqrt(inputs / survivors) of their unit: a mask no longer makes signals smaller",
        paper="He et al. 2015; Evci et al. 2022, Gradient Flow in Sparse Neural Networks",
        cost="none",
        use="Beside random masks and fresh weights at high sparsity, which may lose by scale alone.",
    ),
    "transfer: {seed: next}": Method(
        summary="the mask that another seed's agent gave",
        paper="Morcos et al. 2019, One ticket to win them all",
        cost="none",
        use="Is the mask the task's, or this seed's?",
    ),
    "transfer: {task: ID}": Method(
        summary="the mask of another task, of the same shapes",
        paper="Morcos et al. 2019, One ticket to win them all",
        cost="none",
        use="Does a mask know the robot, or the task?",
    ),
    "transfer: {file: PATH}": Method(
        summary="any mask file; {task} and {seed} in the path are filled in",
        paper="-",
        cost="none",
        use="Masks of another study, or made elsewhere.",
    ),
}


@dataclass(frozen=True)
class Section:
    """The answers to one question."""

    question: str
    key: str
    methods: Mapping[str, Method]


def sections() -> list[Section]:
    """Everything that an arm may ask for."""
    own = Method(
        summary="a function of your own, by its import path; its parameters' names say what it reads",
        paper="-",
        cost="what it reads",
        use="When none of these is what you had in mind (docs/arms.md).",
    )
    return [
        Section("What is a weight worth?", "criterion", {**CRITERIA, "module:function": own}),
        Section("How are the survivors shared out?", "allocation", ALLOCATIONS),
        Section("What is pruned?", "structure", STRUCTURES),
        Section("When is it pruned?", "schedule", SCHEDULES),
        Section("Where do the weights go back to?", "rewind", REWINDS),
        Section("What should lose, if the ticket is one?", "control", CONTROLS),
        Section("What else?", "", OTHERS),
    ]


def catalogue_table() -> Group:
    """A table for each question: name, what it is, what it costs, when to use it."""
    parts: list[Text | Table] = []
    for section in sections():
        key = f"  {section.key}:" if section.key else ""
        parts += [Text.assemble((section.question, "bold"), (key, "cyan")), _table(section), Text()]
    parts.append(
        Text("Any of these go together in a config's `arms:`, unless it is told that they make no sense: docs/arms.md.")
    )
    return Group(*parts)


def _table(section: Section) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="green", no_wrap=True, min_width=18)
    table.add_column(ratio=3)
    table.add_column(ratio=2, style="dim")
    for name, method in section.methods.items():
        first, *rest = name.split(": ", 1) if len(name) > 18 else (name,)
        table.add_row(Text("\n  ".join([first + ":" * bool(rest), *rest])), Text(method.summary), Text(method.use))
    return table
