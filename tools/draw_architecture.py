"""Draw docs/architecture.svg: the packages, their tiers, and which imports which, read from the code.

uv run python tools/draw_architecture.py
"""

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import grimp

PICTURE = Path(__file__).parent.parent / "docs" / "architecture.svg"

WIDTH, HEIGHT, BOX_HEIGHT = 1000, 1008, 52
ROWS = (76, 164, 252, 340, 428, 528, 632, 720, 804)
"""Upper edges of the rows of boxes, in pixels."""


class Box(NamedTuple):
    """Where a package is drawn, and what is written below its name."""

    x: int
    row: int
    width: int
    tier: str
    text: str


BOXES = {
    "study": Box(368, 0, 264, "experiment", "plan, executor, stages, status"),
    "hub": Box(40, 0, 264, "results", "push and pull"),
    "report": Box(40, 1, 264, "results", "page, figures, tables"),
    "interop": Box(40, 2, 264, "results", "files of other tools"),
    "training": Box(696, 4, 264, "science", "loop, replay, saliency"),
    "analysis": Box(40, 3, 124, "results", "scores, tests"),
    "export": Box(180, 3, 124, "results", "files, videos"),
    "agents": Box(696, 5, 124, "science", "updates, kernels"),
    "tracking": Box(368, 4, 264, "experiment", "metrics for trackers"),
    "storage": Box(368, 6, 264, "experiment", "files, manifests, locks"),
    "envs": Box(836, 5, 124, "science", "environments"),
    "config": Box(368, 7, 264, "experiment", "YAML to checked settings"),
    "pruning": Box(696, 8, 264, "science", "score, allocate, select"),
}
TIERS = {"results": 24, "experiment": 352, "science": 680}
"""Left edge of each tier's column, 296 wide."""

FLOW = ("config.yaml", "Config", "plan", "executor", "stages", "store", "analysis", "report")

STYLE = """
  text { font-family: system-ui, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1f2328; text-anchor: middle }
  .paper { fill: #ffffff } .column { fill: #f6f8fa }
  .name { font-size: 17px; font-weight: 600 } .text, .flow { font-size: 13px; fill: #4d555e }
  .title { font-size: 15px; font-weight: 600 } .note { font-size: 13px; fill: #4d555e; text-anchor: start }
  .box { stroke-width: 1.5 } .arrow { fill: none; stroke: #59636e; stroke-width: 1.6; marker-end: url(#head) }
  .head { fill: #59636e }
  .science { fill: #d9f2ec; stroke: #1b7f6b } .experiment { fill: #dbe9fb; stroke: #2463b0 }
  .results { fill: #fbe8d3; stroke: #b3661a } .step { fill: none; stroke: #8c959f }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .paper { fill: #0d1117 } .column { fill: #161b22 } .text, .flow, .note { fill: #b7c0ca }
    .arrow { stroke: #9ba6b2 } .head { fill: #9ba6b2 }
    .science { fill: #123d35; stroke: #3fb89f } .experiment { fill: #14335c; stroke: #5b9bea }
    .results { fill: #4a2e10; stroke: #e0954a } .step { stroke: #6e7781 }
  }
"""


def package_imports() -> dict[str, set[str]]:
    """package -> the packages that any of its modules imports."""
    graph = grimp.build_graph("rlottery")
    imports: dict[str, set[str]] = {package: set() for package in BOXES}
    for module in graph.modules:
        importer = _package(module)
        imported = {_package(name) for name in graph.find_modules_directly_imported_by(module)}
        if importer in BOXES:
            imports[importer] |= (imported & BOXES.keys()) - {importer}
    return imports


def _package(module: str) -> str:
    return module.removeprefix("rlottery.").partition(".")[0]


def arrows(imports: dict[str, set[str]]) -> list[tuple[str, str]]:
    """(importer, imported) of the imports that don't already follow from a chain of others, sorted."""

    def reached(package: str) -> set[str]:
        return imports[package].union(*(reached(imported) for imported in imports[package]))

    return sorted(
        (package, imported)
        for package, of in imports.items()
        for imported in of
        if not any(imported in reached(other) for other in of - {imported})
    )


def picture() -> str:
    """The SVG."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        "<title>Packages of rlottery, and which imports which</title>",
        f"<style>{STYLE}</style>",
        '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path class="head" d="M0 0 8 4 0 8z"/></marker>',
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}" rx="8"/>',
    ]
    for tier, x in TIERS.items():
        lines.append(f'<rect class="column" x="{x}" y="24" width="296" height="848" rx="8"/>')
        lines.append(f'<text class="title" x="{x + 148}" y="54">{tier.capitalize()}</text>')
    drawn = arrows(package_imports())
    for importer, imported in drawn:
        if BOXES[importer].row >= BOXES[imported].row:
            raise SystemExit(f"{importer} imports {imported}: in BOXES, move {importer} to a higher row.")
    lines += [_arrow(importer, imported, drawn) for importer, imported in drawn]
    lines += [_box(name, box) for name, box in BOXES.items()]
    lines += [*_flow(), "</svg>"]
    return "\n".join(lines) + "\n"


def _box(name: str, box: Box) -> str:
    middle, top = box.x + box.width // 2, ROWS[box.row]
    return (
        f'<rect class="box {box.tier}" x="{box.x}" y="{top}" width="{box.width}" height="{BOX_HEIGHT}" rx="6"/>'
        f'<text class="name" x="{middle}" y="{top + 22}">{name}</text>'
        f'<text class="text" x="{middle}" y="{top + 41}">{box.text}</text>'
    )


def _arrow(importer: str, imported: str, drawn: list[tuple[str, str]]) -> str:
    """From the importer's lower edge straight down to the last row before the imported one, and across from there."""
    x1 = _port(importer, imported, [below for above, below in drawn if above == importer])
    x2 = _port(imported, importer, [above for above, below in drawn if below == imported])
    row = BOXES[imported].row
    start, turn, end = (ROWS[index] + BOX_HEIGHT for index in (BOXES[importer].row, row - 1, row))
    end -= BOX_HEIGHT + 2
    middle = (turn + end) // 2
    return f'<path class="arrow" d="M{x1} {start}V{turn}C{x1} {middle} {x2} {middle} {x2} {end}"/>'


def _port(name: str, other: str, others: list[str]) -> int:
    """Where on an edge of `name` the arrow from or to `other` is: arrows are evenly spread, from left to right."""
    left_to_right = sorted(others, key=lambda package: BOXES[package].x)
    box = BOXES[name]
    return box.x + box.width * (left_to_right.index(other) + 1) // (len(others) + 1)


def _flow() -> list[str]:
    """The way data flows, as a row of steps along the lower edge."""
    left, step, width, top = 24, 122, 98, 922
    lines = [f'<text class="note" x="{left}" y="{top - 16}">How data flows</text>']
    for index, name in enumerate(FLOW):
        x = left + step * index
        lines.append(f'<rect class="step" x="{x}" y="{top}" width="{width}" height="36" rx="6"/>')
        lines.append(f'<text class="flow" x="{x + width // 2}" y="{top + 23}">{name}</text>')
    for before, _ in pairwise(range(len(FLOW))):
        x = left + step * before + width
        lines.append(f'<path class="arrow" d="M{x} {top + 18}H{x + step - width - 1}"/>')
    note = "Arrows point from a package to those it imports. Imports that follow from a chain of others are left out."
    return [*lines, f'<text class="note" x="{left}" y="{HEIGHT - 18}">{note}</text>']


if __name__ == "__main__":
    PICTURE.write_text(picture())
