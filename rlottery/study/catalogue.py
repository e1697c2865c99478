"""Everything that an arm may ask for, grouped by question: shown by `rlottery arms` and in docs/arms.md."""

from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Group
from rich.table import Table
from rich.text import Text

from rlottery.config.schedules import SCHEDULES
from rlottery.pruning.controls import CONTROLS
from rlottery.pruning.criteria import CRITERIA
from rlottery.pruning.method import Method

ALLOCATIONS: dict[str, Method] = {
    "global": Method(
        summary="all layers of a network compete in one ranking; each twin critic has its own",
        paper="Han et al. 2015, Learning both Weights and Connections for Efficient Neural Networks",
        use="The default for weights that have scores.",
    ),
    "uniform": Method(
        summary="every layer keeps the same share of its weights",
        paper="Zhu and Gupta 2017, To prune, or not to prune",
        use="If global would empty a layer, or for sparse kernels that are fastest with layers of similar density.",
    ),
    "erk": Method(
        summary="a layer's density is proportional to (inputs + outputs) / (inputs x outputs): small layers keep more",
        paper="Mocanu et al. 2018, SET; Evci et al. 2020, Rigging the Lottery",
        use="The default of set and rigl. Graesser et al. 2022 found it better than uniform for agents.",
    ),
    "{actor: [...]}": Method(
        summary="the sparsity of each layer of actor and critic (or q), from input to output, in place of sparsity",
        paper="-",
        use="To find out how few weights one layer needs.",
    ),
}
REWINDS: dict[str, Method] = {
    "initial": Method(
        summary="the dense agent's initial weights, trained for as many steps as the dense agent",
        paper="Frankle and Carbin 2019, The Lottery Ticket Hypothesis",
        use="The default: the question of the lottery ticket hypothesis.",
    ),
    "{step: k}": Method(
        summary="the dense agent at step k, with a fresh optimiser, an empty buffer and the remaining steps",
        paper="Frankle et al. 2020, Linear Mode Connectivity and the Lottery Ticket Hypothesis",
        cost="one saved agent; k steps of training if the dense run is done and saved none at k",
        use="If tickets from the initial weights fail.",
    ),
    "none": Method(
        summary="the trained weights, pruned and fine-tuned for as many steps again",
        paper="Renda et al. 2020, Comparing Rewinding and Fine-tuning in Neural Network Pruning",
        cost="none, but the agent has trained twice as long as the dense agent",
        use="If you need a small policy rather than evidence about tickets.",
    ),
}
STRUCTURES: dict[str, Method] = {
    "weights": Method(
        summary="single weights", paper="Han et al. 2015", use="The default: it loses least at a given sparsity."
    ),
    "units": Method(
        summary="whole hidden units, ranked by the root mean square of their weights' scores",
        paper="Li et al. 2017, Pruning Filters for Efficient ConvNets; Fang et al. 2023, DepGraph",
        use="If the small policy should be a small dense network, which is fast on any hardware.",
    ),
}
OTHER_CHOICES: dict[str, Method] = {
    "rescale: true": Method(
        summary="initial weights times sqrt(inputs / survivors) of their unit, so that masks don't shrink activations",
        paper="He et al. 2015; Evci et al. 2022, Gradient Flow in Sparse Neural Networks",
        use="For random masks and fresh weights at high sparsity, which may lose because of their scale alone.",
    ),
    "reclaim: true": Method(
        summary="survivors on no path from an input to an output are exchanged for the best-scoring weights on one",
        paper="Vysogorets and Kempe 2023, Connectivity Matters, on effective sparsity",
        cost="none besides making the mask",
        use="At high sparsity, where a criterion may leave much of its budget on weights that do nothing.",
    ),
    "transfer: {seed: next}": Method(
        summary="the mask of another seed's agent",
        paper="Morcos et al. 2019, One ticket to win them all",
        use="Does a mask belong to the task, or to one seed?",
    ),
    "transfer: {task: ID}": Method(
        summary="the mask of another task with the same shapes",
        paper="Morcos et al. 2019, One ticket to win them all",
        use="Does a mask belong to the robot, or to the task?",
    ),
    "transfer: {file: PATH}": Method(
        summary="any mask file; {task} and {seed} in the path are filled in",
        paper="-",
        use="For masks of another study, or from elsewhere.",
    ),
}


@dataclass(frozen=True)
class Question:
    """A question, the key that answers it, and the possible answers."""

    question: str
    key: str
    methods: Mapping[str, Method]


def sections() -> list[Question]:
    """Everything that an arm may ask for."""
    own = Method(
        summary="your own function, by its import path; the names of its parameters say what it reads",
        paper="-",
        cost="what it reads",
        use="If none of these fits (docs/criteria.md).",
    )
    return [
        Question("How are weights scored?", "criterion", {**CRITERIA, "module:function": own}),
        Question("How many weights does each layer keep?", "allocation", ALLOCATIONS),
        Question("What is pruned?", "structure", STRUCTURES),
        Question("When is it pruned?", "schedule", SCHEDULES),
        Question("What are the weights rewound to?", "rewind", REWINDS),
        Question("Which controls should lose to a ticket?", "control", CONTROLS),
        Question("What else?", "", OTHER_CHOICES),
    ]


def catalogue_table() -> Group:
    """A table for each question: name, summary, and when to use it."""
    parts: list[Text | Table] = []
    for section in sections():
        key = f"  {section.key}:" if section.key else ""
        parts += [Text.assemble((section.question, "bold"), (key, "cyan")), _table(section), Text()]
    closing = (
        "Combine them freely in a config's `arms:`. Controls and rules of allocation also fit into `pruning:`. "
        "Combinations that make no sense are refused with a reason. "
    )
    return Group(*parts, Text(f"{closing}Examples, costs and papers: docs/arms.md."))


def _table(section: Question) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="green", no_wrap=True, min_width=18)
    table.add_column(ratio=3)
    table.add_column(ratio=2, style="dim")
    for name, method in section.methods.items():
        first, *rest = name.split(": ", 1) if len(name) > 18 else (name,)
        table.add_row(Text("\n  ".join([first + ":" * bool(rest), *rest])), Text(method.summary), Text(method.use))
    return table
