"""The description of a method: one record for the command line, the documentation and reports."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Method:
    """A description of a named method.

    Attributes:
        summary: what it does, in one line.
        paper: its source.
        cost: what it costs in addition to one dense training.
        use: when to choose it.
    """

    summary: str
    paper: str
    cost: str = "none"
    use: str
