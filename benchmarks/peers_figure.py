"""The figure of benchmarks.against_peers: rlottery and other libraries, and tickets by sparsity."""

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.peer_samples import OURS, Sample, chosen, names, ticket_curves
from benchmarks.ratios import Summary, summarise
from rlottery.storage.disk import write_bytes

# Okabe and Ito's colours; the marks differ too.
QUANTITIES = {"update": ("updates/s", "#0072B2", "o"), "loop": ("env steps/s", "#D55E00", "s")}
ALLOCATIONS = {"uniform": ("#0072B2", "o", "-"), "global": ("#D55E00", "s", "--")}
QUIET = "#5A5A5A"
STYLE = {"font.size": 10, "svg.hashsalt": "rlottery", "axes.spines.top": False, "axes.spines.right": False}


def draw(samples: Sequence[Sample], path: Path) -> None:
    """Draw a panel for each measured quantity. Writes `path` (PNG, 150 dpi), and an SVG file next to it."""
    panels = [_libraries] if len(names(samples, "update")) > 1 else []
    panels += [_tickets] if ticket_curves(samples) else []
    if not panels:
        return
    rounds = len({sample.round for sample in samples})
    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(5.4 * len(panels), 3.7), layout="constrained")
        FigureCanvasAgg(figure)
        for panel, axes in zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True):
            panel(axes, samples)
        figure.supxlabel(
            f"median and quartiles of n = {rounds} rounds; one core, batch 256, 2 x 256 units", fontsize=9, color=QUIET
        )
        for suffix, options in ((".png", {"dpi": 150}), (".svg", {"metadata": {"Date": None}})):
            stream = io.BytesIO()
            figure.savefig(stream, format=suffix[1:], **options)  # type: ignore[arg-type]
            write_bytes(path.with_suffix(suffix), stream.getvalue())


def _libraries(axes: Axes, samples: Sequence[Sample]) -> None:
    peers = [what for what in names(samples, "update") if what != OURS]
    for offset, (quantity, (label, colour, mark)) in zip((-0.1, 0.1), QUANTITIES.items(), strict=True):
        for row, peer in enumerate(peers):
            summary = summarise([sample.ratio for sample in chosen(samples, quantity, peer)])
            axes.errorbar(
                summary.median,
                row + offset,
                xerr=_whiskers([summary]),
                fmt=mark,
                color=colour,
                capsize=3,
                label=label if row == 0 else None,
            )
            axes.annotate(
                f"{summary.median:.2f}",
                (summary.median, row + offset),
                (0, 5 if offset < 0 else -13),  # clear of the other mark
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=colour,
            )
    axes.axvline(1.0, color=QUIET, linewidth=1)
    axes.set(yticks=range(len(peers)), yticklabels=peers, xlim=(0, None), ylim=(len(peers) + 0.1, -0.6))
    axes.set(xlabel="rate over that of rlottery (1)", title="Dense agents: other libraries")
    axes.legend(loc="lower left", ncols=2, frameon=False)


def _tickets(axes: Axes, samples: Sequence[Sample]) -> None:
    curves = ticket_curves(samples)
    for allocation, (colour, mark, dash) in ALLOCATIONS.items():
        curve = curves[allocation]
        axes.errorbar(
            [100 * sparsity for sparsity in curve],
            [summary.median for summary in curve.values()],
            yerr=_whiskers(list(curve.values())),
            fmt=mark,
            linestyle=dash,
            color=colour,
            capsize=3,
            label=f"{allocation} masks",
        )
    axes.axhline(1.0, color=QUIET, linewidth=1)
    axes.set(xlabel="sparsity, %", ylabel="updates/s over dense (1)", ylim=(0, None))
    axes.set(xticks=sorted({100 * sparsity for curve in curves.values() for sparsity in curve}))
    axes.set_title("Tickets of rlottery")
    axes.legend(loc="upper left", frameon=False)


def _whiskers(summaries: Sequence[Summary]) -> tuple[list[float], list[float]]:
    """Distances from the medians down and up to the quartiles."""
    return [s.median - s.lower for s in summaries], [s.upper - s.median for s in summaries]
