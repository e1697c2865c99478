"""How a way of pruning is told to people: one record that every table of names uses."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Method:
    """What a named method is, for the command line, the documentation and the report.

    Attributes:
        summary: what it does, in a line.
        paper: where it comes from.
        cost: what it takes beside one dense training.
        use: when to choose it.
    """

    summary: str
    paper: str
    cost: str
    use: str
