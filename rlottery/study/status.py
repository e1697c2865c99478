"""What of a study is done: read from the files alone, also while workers run."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from rlottery.config import Config
from rlottery.errors import StudyError
from rlottery.report.words import count
from rlottery.storage.checkpoint_record import newest_checkpoint
from rlottery.storage.manifests import find_damage, read_manifest
from rlottery.storage.open_study import check_data_folder
from rlottery.storage.paths import DENSE, RunFiles, Store
from rlottery.storage.progress import read_progress
from rlottery.storage.trained_with import other_settings_message
from rlottery.study.display import duration
from rlottery.study.planning.arms import arms_of

_COUNTED_AS = {"running": "under way", "to do again": "to do", "mask made": "to do"}
"""States that the summary tells by another name."""


def status_table(config: Config) -> Group:
    """A line for every task, seed and arm: those that the config lists, and any others that the store has.

    Below them, what was trained with other settings than the config has, and a summary.

    Raises:
        StudyError: the data folder is none.
    """
    check_data_folder(config.data)
    store = Store(config.data)
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    for heading in ("task", "seed", "arm", "state", "details"):
        table.add_column(heading, header_style="dim", overflow="fold")
    listed = [arm.name for arm in arms_of(config, None)] if config.arms else []
    states: list[str] = []
    others: list[str] = []
    for task in config.tasks:
        fingerprints = []
        for seed in config.seeds:
            for arm in dict.fromkeys([DENSE, *listed, *store.arms(task.name, seed)]):
                files = store.run(task.name, seed, arm)
                state, details = _state(files)
                # Brackets in an error are no styles.
                table.add_row(*map(Text, (task.name, str(seed), arm, state, details)))
                states.append(state)
                fingerprints.append(_fingerprint(files))
        if said := other_settings_message(config, task, fingerprints):
            others.append(said)
    title = Text(f"Study {config.name!r} in {config.data}", style="italic")
    return Group(title, table, *(Text(line, style="yellow") for line in others), Text(_summary(states)))


def _summary(states: Iterable[str]) -> str:
    """``3 of 6 runs done, 1 under way, 2 to do.``"""
    counted = Counter(_COUNTED_AS.get(state, state) for state in states)
    done, every = counted.pop("done", 0), counted.total()
    parts = [f"{done} of {count(done + every, 'run')} done", *(f"{n} {state}" for state, n in counted.items())]
    return ", ".join(parts) + "."


def _fingerprint(files: RunFiles) -> Mapping[str, Any]:
    """What made a run, finished or not; empty where nothing tells."""
    try:
        made = read_manifest(files) or newest_checkpoint(files)
    except StudyError:
        return {}
    return made["fingerprint"] if made is not None else {}


def _state(files: RunFiles) -> tuple[str, str]:
    """One word or two, and details."""
    progress = read_progress(files.progress)
    if progress is not None:
        left = "" if progress.seconds_left is None else f", {duration(progress.seconds_left)} left"
        return "running", f"{progress.env_steps:,} of {progress.total_steps:,} steps{left}"
    try:
        manifest = read_manifest(files)
        record = newest_checkpoint(files)
    except StudyError as error:
        return "damaged", str(error)
    if manifest is None:
        if record is not None:
            return "cut short", f"continues from step {record['env_steps']:,} when the study is run again"
        if files.metrics.exists():
            return "cut short", "begins again when the study is run again"
        return ("mask made", "ticket not trained yet") if files.mask.exists() else ("to do", "")
    if manifest["status"] != "done":
        return manifest["status"], manifest.get("error", "").split("\n")[0]
    if manifest.get("replay") == "saved" and not files.replay.exists():
        return "to do again", "its replay buffer is gone"
    if damaged := find_damage(files.folder, manifest["files"], contents=()):
        return "damaged", f"{damaged[0].file.name}: {damaged[0].why}; the study makes it anew when it is run again"
    sittings = len(manifest.get("sittings", []))
    suffix = f", in {sittings} sittings" if sittings > 1 else ""
    return "done", f"in {duration(manifest.get('seconds', 0.0))}{suffix}"
