"""What of a study is done: read from the files alone, also while workers run."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from rlottery.checkpoint_record import newest
from rlottery.config import Config
from rlottery.errors import StudyError
from rlottery.manifests import damage, read_manifest
from rlottery.store import DENSE, RunFiles, Store
from rlottery.study.arms import arms_of
from rlottery.study.display import duration
from rlottery.study.plan import check_folder
from rlottery.study.progress import read_progress


def status_table(config: Config) -> Group:
    """A line for every task, seed and arm: those that the config lists, and any others that the store has.

    Raises:
        StudyError: the data folder is none.
    """
    check_folder(config.data)
    store = Store(config.data)
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    for heading in ("task", "seed", "arm", "state", "details"):
        table.add_column(heading, header_style="dim", overflow="fold")
    listed = [arm.name for arm in arms_of(config, None)] if config.arms else []
    for task in config.tasks:
        for seed in config.seeds:
            for arm in dict.fromkeys([DENSE, *listed, *store.arms(task.name, seed)]):
                row = (task.name, str(seed), arm, *_state(store.run(task.name, seed, arm)))
                table.add_row(*map(Text, row))  # brackets in an error are no styles
    return Group(Text(f"Study {config.name!r} in {config.data}", style="italic"), table)


def _state(files: RunFiles) -> tuple[str, str]:
    """One word or two, and details."""
    progress = read_progress(files.progress)
    if progress is not None:
        left = "" if progress.seconds_left is None else f", {duration(progress.seconds_left)} left"
        return "running", f"{progress.env_steps:,} of {progress.total_steps:,} steps{left}"
    try:
        manifest = read_manifest(files)
        record = newest(files)
    except StudyError as error:
        return "damaged", str(error)
    if manifest is None:
        if record is not None:
            return "cut short", f"goes on from step {record['env_steps']:,} when the study is run again"
        if files.metrics.exists():
            return "cut short", "begins again when the study is run again"
        return ("mask made", "ticket not trained yet") if files.mask.exists() else ("to do", "")
    if manifest["status"] != "done":
        return manifest["status"], manifest.get("error", "").split("\n")[0]
    if manifest.get("replay") == "saved" and not files.replay.exists():
        return "to do again", "its replay buffer is gone"
    if damaged := damage(files.folder, manifest["files"], contents=()):
        return "damaged", f"{damaged[0].file.name}: {damaged[0].why}; the study makes it anew when it is run again"
    sittings = len(manifest.get("sittings", []))
    suffix = f", in {sittings} sittings" if sittings > 1 else ""
    return "done", f"in {duration(manifest.get('seconds', 0.0))}{suffix}"
