"""What of a study is done: read from the files alone, also while workers run."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from rlottery.config import Config
from rlottery.errors import RlotteryError
from rlottery.store import RunFiles, Store, read_manifest, replay_is_saved
from rlottery.study.display import duration
from rlottery.study.plan import check_folder
from rlottery.study.progress import read_progress


def status_table(config: Config) -> Group:
    """A line for every task, seed and arm: the arms that the store has, and the dense runs that it should have.

    Raises:
        StudyError: the data folder is none.
    """
    check_folder(config.data)
    store = Store(config.data)
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    for heading in ("task", "seed", "arm", "state", "details"):
        table.add_column(heading, header_style="dim", overflow="fold")
    for task in config.tasks:
        for seed in config.seeds:
            for arm in store.arms(task.name, seed):
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
    except RlotteryError as error:
        return "damaged", str(error)
    if manifest is None:
        if files.metrics.exists():
            return "cut short", "run the study again to train it anew"
        return ("mask made", "ticket not trained yet") if files.mask.exists() else ("to do", "")
    if manifest["status"] == "failed":
        return "failed", manifest["error"].splitlines()[0]
    if manifest.get("replay") == "saved" and not replay_is_saved(files):
        return "to do again", "its replay buffer is gone"
    return "done", f"in {duration(manifest['seconds'])}"
