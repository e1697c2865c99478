"""What a study can't claim whose dense agents were trained by another tool, in sentences."""

from collections.abc import Iterator, Mapping
from typing import Any

from rlottery.analysis.runs import Run
from rlottery.analysis.scores import TaskScores
from rlottery.report.contents import Contents
from rlottery.report.wording import few, joined, plural
from rlottery.storage.manifests import is_from_seed
from rlottery.storage.paths import DENSE

FINE_TUNING = "This is fine-tuning, and no test of lottery tickets."


def fine_tuning_line(contents: Contents) -> str | None:
    """Where tickets don't start from the initial weights of their dense agents; None if they do everywhere."""
    tasks = [task.task for task in contents.scores if any("initial" not in of for of in _imports(task).values())]
    if not tasks:
        return None
    return (
        f"On {joined(tasks)}, the initial weights of imported agents are not known, so tickets start from trained "
        f"weights. {FINE_TUNING}"
    )


def imported_limits(contents: Contents) -> Iterator[str]:
    """How agents of another library limit a comparison with tickets that were trained here."""
    for task in contents.scores:
        imports, dense = _imports(task), task.runs.get(DENSE, ())
        if not imports:
            continue
        libraries = few(dict.fromkeys(str(of["library"]) for of in imports.values()))
        which = "" if len(imports) == len(dense) else f"{len(imports)} of {plural(len(dense), 'dense agent')} "
        were = f"{which or 'the dense agents '}were"
        yield (
            f"On {task.task}, {were} trained by {libraries} and imported, and tickets and controls are trained by "
            "rlottery. A difference from dense agents may be one between the libraries. Tickets and their random masks "
            "are trained alike. Of the imported agents' learning curves, only the ends are known."
        )
        made = [of["reconstructed"] for of in imports.values() if is_from_seed(of)]
        if made:
            yield (
                f"On {task.task}, the initial weights of {plural(len(made), 'imported agent')} were reconstructed from "
                f"the seed by {few(dict.fromkeys(str(of['by']) for of in made))}. Their correlation with the trained "
                f"weights is {min(of['correlation'] for of in made):.2f} or more, and would be about 0 for others."
            )


def _imports(task: TaskScores) -> dict[int, Mapping[str, Any]]:
    """Seed -> what the dense agent was imported from, for those that were."""
    runs: tuple[Run, ...] = task.runs.get(DENSE, ())
    return {run.seed: run.imported for run in runs if run.imported is not None}
