"""The trials of a study's tasks: made in processes of their own before the first run, and recorded.

A trial is made again when the task's arguments, its packages or the user's own code have changed.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Timer

from rlottery.agents.description import Spec
from rlottery.config import Config, Deviation, Task
from rlottery.errors import TaskError
from rlottery.processes.children import ChildCall, ChildError
from rlottery.report.wording import capitalised, joined
from rlottery.storage.disk import file_digest
from rlottery.storage.paths import Store
from rlottery.storage.trial_record import Trial, read_trial, trial_from_dict, write_trial
from rlottery.study.planning.action_kinds import check_actions
from rlottery.study.planning.network_sizes import note_task

SECONDS = 600.0
"""How long a trial may take: some simulators need minutes to start."""
SILENT_SECONDS = 2.0
"""After this time a line says what a command is waiting for."""
MOST_AT_ONCE = 4
"""Trials at the same time."""

FIXES: dict[Deviation, str] = {
    "unseeded": "Draw every random number from self.np_random, which reset(seed=...) seeds, and don't read the clock.",
    "carryover": "Let reset() ignore earlier episodes: no running statistics (such as NormalizeObservation), nothing "
    "left over in the simulator, random numbers from its seed.",
    "interference": "Let environments share nothing that changes: no class or module variables, and a simulator or a "
    "connection for each.",
}
"""How to fix an environment. What each deviation breaks is in docs/task-contract.md."""

_made: dict[str, Trial] = {}
"""The trials that this process has made."""


def try_tasks(config: Config, say: Callable[[str], None] = lambda line: None, fix: str = "") -> dict[str, Trial]:
    """The trial of each of the config's tasks, by id: a current record, or one that is made now. Writes nothing.

    Args:
        say: called from another thread with a line to show, if this takes long.
        fix: what to do about actions of another kind, in place of another algorithm.

    Raises:
        TaskError: a task can't be used, its actions are of a kind that the algorithm can't learn, or it deviates in a
            way that its key `allow` doesn't list.
    """
    store = Store(config.data)
    trials = {task.id: trial for task in config.tasks if (trial := _known(store, task)) is not None}
    todo = [task for task in config.tasks if task.id not in trials]
    with _told_if_slow(todo, say):
        for start in range(0, len(todo), MOST_AT_ONCE):
            some = todo[start : start + MOST_AT_ONCE]
            with ExitStack() as stack:
                calls = [stack.enter_context(_started(task, has_runs=_has_runs(store, task))) for task in some]
                for task, call in zip(some, calls, strict=True):
                    trials[task.id] = _made[_key(task)] = _result(task, call)
    for task in config.tasks:
        trial = trials[task.id]
        spec = Spec.of(trial)
        note_task(task, spec, trial.code)
        check_actions(config, task.id, spec, fix)
        if refused := [kind for kind in trial.deviations if kind not in task.allow]:
            raise TaskError(f"{task.id}: {deviation_text(trial, refused[0])} {how_to_allow(config, task, refused)}")
    return trials


def record_trials(config: Config) -> None:
    """Write the trials that this process has made to the study's data folder. Raises OSError if that fails."""
    store = Store(config.data)
    for task in config.tasks:
        trial = _made.get(_key(task))
        if trial is not None and read_trial(store, task) != trial:
            write_trial(store, task, trial)


def try_task(task: Task, say: Callable[[str], None] = lambda line: None, *, rendering: bool = False) -> Trial:
    """Try a task in a process of its own, as `try_tasks`. Raises TaskError if it can't be used."""
    with _told_if_slow([task], say), _started(task, rendering=rendering) as call:
        return _result(task, call)


@contextmanager
def _told_if_slow(tasks: Sequence[Task], say: Callable[[str], None]) -> Iterator[None]:
    if not tasks:
        yield
        return
    names = joined(task.id for task in tasks) if len(tasks) <= 3 else f"{len(tasks)} tasks"
    timer = Timer(
        SILENT_SECONDS,
        say,
        [f"Trying {names} for a few episodes. A trial that takes more than {SECONDS / 60:.0f} minutes is stopped."],
    )
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _has_runs(store: Store, task: Task) -> bool:
    return (store.runs / task.name).exists()


def _started(task: Task, *, rendering: bool = False, has_runs: bool = False) -> ChildCall:
    try:
        return ChildCall("rlottery.envs.trial:try_task", task.id, task.kwargs, rendering, has_runs, seconds=SECONDS)
    except OSError as error:
        raise TaskError(f"{task.id} can't be tried, because no process can be started: {error.strerror}") from None


def _result(task: Task, call: ChildCall) -> Trial:
    try:
        return trial_from_dict(call.result())
    except ChildError as error:
        raise TaskError(f"{task.id} failed when it was tried for a few episodes: {error}") from None
    except TaskError as error:
        if ":" in task.id or not _is_registered_only_here(task.id):
            raise
        raise TaskError(
            f"{task.id} is registered in this process, but runs have processes of their own, which don't know it. "
            f"Register it in a module, and write the name of the module before the id: my_module:{task.id}."
        ) from error


def deviation_text(trial: Trial, kind: Deviation) -> str:
    """What was seen, and how to fix it."""
    return f"{capitalised(trial.deviations[kind])} {FIXES[kind]}"


def how_to_allow(config: Config | None, task: Task, kinds: Sequence[Deviation]) -> str:
    """The keys of the config that accept these deviations, besides those that it accepts already."""
    allowed = ", ".join(dict.fromkeys([*task.allow, *kinds]))
    keys = [f"`allow: [{allowed}]`"]
    if config is not None and config.training_for(task).environments > 1:
        keys.append("`training: {environments: 1}`")
    which = "the key" if len(keys) == 1 else "the keys"
    return f"To run it all the same, give this task {which} {joined(keys)}; reports will repeat this."


def _is_registered_only_here(task: str) -> bool:
    import gymnasium

    spec = gymnasium.registry.get(task)
    maker = getattr(spec, "entry_point", None)
    return spec is not None and not (isinstance(maker, str) and maker.startswith("gymnasium."))


def _known(store: Store, task: Task) -> Trial | None:
    """The trial of this process or of the record, if nothing that it depends on has changed."""
    trial = _made.get(_key(task)) or read_trial(store, task)
    return trial if trial is not None and _is_current(trial) else None


def _key(task: Task) -> str:
    return json.dumps([task.id, task.kwargs, sys.path], sort_keys=True)


def _digest(module: str) -> str | None:
    """SHA-256 of the file that a module would be imported from; None if there is none. Nothing is imported."""
    below = module.replace(".", "/")
    files = (Path(place) / name for place in sys.path for name in (f"{below}/__init__.py", f"{below}.py"))
    file = next((file for file in files if file.is_file()), None)
    return None if file is None else file_digest(file)


def _is_current(trial: Trial) -> bool:
    try:
        packages = {name: version(name) for name in trial.packages}
        sources = {name: _digest(name) for name in trial.sources}
    except (PackageNotFoundError, OSError):
        return False
    return packages == trial.packages and sources == trial.sources
