"""The measurements of benchmarks.against_peers, as CSV and as Markdown."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from benchmarks.ratios import Summary, summarise

OURS = "rlottery"
ANCESTORS_DENSE = "ancestor's dense"
ANCESTORS_MASKS = "ancestor's masks:0.95"


class Sample(NamedTuple):
    """One rate of one round.

    Attributes:
        quantity: "update" (updates/s, the batch's sampling included), "loop" (environment steps/s of a training loop)
            or "ticket" (updates/s of a batch that is there already).
        what: a library; "dense", or allocation:sparsity; the ancestor's dense and masked update.
        ratio: the rate over that of our dense agent, same quantity, same round; the ancestor's tickets, over the
            ancestor's dense one.
        limit_share: part of the GEMM limit that the operations of the dense update reach; None but for libraries.
    """

    quantity: str
    what: str
    round: int
    rate: float
    ratio: float
    limit_share: float | None = None


def chosen(samples: Sequence[Sample], quantity: str, what: str) -> list[Sample]:
    """The samples of one quantity and item, one per round."""
    return [sample for sample in samples if (sample.quantity, sample.what) == (quantity, what)]


def names(samples: Sequence[Sample], quantity: str) -> list[str]:
    """The items that a quantity was measured for, in order of first appearance."""
    return list(dict.fromkeys(sample.what for sample in samples if sample.quantity == quantity))


def ticket_curves(samples: Sequence[Sample]) -> dict[str, dict[float, Summary]]:
    """Allocation -> sparsity -> updates/s over those of the dense agent."""
    curves: dict[str, dict[float, Summary]] = {}
    for what in names(samples, "ticket"):
        allocation, _, sparsity = what.partition(":")
        if sparsity and what != ANCESTORS_MASKS:
            ratios = [sample.ratio for sample in chosen(samples, "ticket", what)]
            curves.setdefault(allocation, {})[float(sparsity)] = summarise(ratios)
    return curves


def to_csv(samples: Sequence[Sample]) -> str:
    """One line per sample."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(Sample._fields)
    for quantity, what, turn, rate, ratio, share in samples:
        writer.writerow([quantity, what, turn, f"{rate:.5g}", f"{ratio:.4g}", "" if share is None else f"{share:.4g}"])
    return stream.getvalue()


def to_markdown(samples: Sequence[Sample], machine: str, versions: Mapping[str, Mapping[str, str]]) -> str:
    """Both tables, with the machine and the versions."""
    rounds = len({sample.round for sample in samples})
    head = f"One core of {machine}; medians over rounds (n = {rounds}), quartiles in brackets."
    libraries = [
        f"- {name}: {', '.join(f'{package} {version}' for package, version in of_library.items())}"
        for name, of_library in versions.items()
    ]
    parts = ["# Speed compared with other implementations", head, "\n".join(libraries), _libraries(samples)]
    if "dense" in names(samples, "ticket"):
        parts += ["# Tickets", _tickets(samples)]
    return "\n\n".join(parts) + "\n"


def _libraries(samples: Sequence[Sample]) -> str:
    rows = [["", "updates/s", "over ours", "share of the GEMM limit", "env steps/s", "over ours"]]
    for what in names(samples, "update"):
        update, loop = chosen(samples, "update", what), chosen(samples, "loop", what)
        shares = [sample.limit_share for sample in update if sample.limit_share is not None]
        cells = [_rate(update), _ratio(update), _spread(summarise(shares), _two_digits), _rate(loop), _ratio(loop)]
        rows.append([what, *cells])
    return _table(rows)


def _tickets(samples: Sequence[Sample]) -> str:
    rows = [["", "updates/s", "over dense", "env steps/s", "over dense"]]
    for what in names(samples, "ticket"):
        update = chosen(samples, "ticket", what)
        loop = chosen(samples, "loop", OURS if what == "dense" else what)
        name, _, sparsity = what.partition(":")
        title = f"{name}, {float(sparsity):.0%}" if sparsity else name
        rows.append([title, _rate(update), _ratio(update), *((_rate(loop), _ratio(loop)) if loop else ("", ""))])
    return _table(rows)


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|---" + "|---:" * (len(rows[0]) - 1) + "|")
    return "\n".join(lines)


def _rate(samples: Sequence[Sample]) -> str:
    return _spread(summarise([sample.rate for sample in samples]), lambda rate: f"{rate:,.0f}")


def _ratio(samples: Sequence[Sample]) -> str:
    summary = summarise([sample.ratio for sample in samples])
    return "1" if set(summary) == {1.0} else _spread(summary, _two_digits)


def _two_digits(value: float) -> str:
    return f"{value:.2f}"


def _spread(summary: Summary, digits: Callable[[float], str]) -> str:
    return f"{digits(summary.median)} ({digits(summary.lower)} to {digits(summary.upper)})"
