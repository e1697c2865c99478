"""Sentences about runs that were made with other versions, another processor or other kernels than those before."""

from collections.abc import Iterable

from rlottery.report.wording import named, plural
from rlottery.storage.made_with import COMPARED, MadeWith, Versions, changes, session_changes
from rlottery.storage.paths import DENSE


def change_lines(task: str, runs: Iterable[MadeWith]) -> list[str]:
    """A line for each change of versions within runs of a task, and between dense agents and the runs of their seed."""
    runs = list(runs)
    dense = {run.seed: _without_code(run.versions) for run in runs if run.arm == DENSE}
    within: dict[tuple[str, ...], list[str]] = {}
    between: dict[tuple[str, ...], list[str]] = {}
    for run in runs:
        label = f"seed {run.seed} {run.arm}"
        if found := session_changes([_without_code(versions) for versions in run.sessions]):
            within.setdefault(found, []).append(label)
        if found := changes(dense.get(run.seed, {}), run.versions):
            between.setdefault(found, []).append(label)
    return [
        f"On {task}, {plural(len(labels), 'run')} continued with other versions than before: {', '.join(found)} "
        f"({named(labels)}). Their last digits may depend on where they were interrupted."
        for found, labels in within.items()
    ] + [
        f"On {task}, {plural(len(labels), 'run')} and the dense agents of the same seeds were made with different "
        f"versions: {', '.join(found)} ({named(labels)}). Differences between their scores may come from that."
        for found, labels in between.items()
    ]


def _without_code(versions: Versions) -> Versions:
    """Reports have their own line about tasks whose code has changed."""
    return {name: value for name, value in versions.items() if name in COMPARED}
