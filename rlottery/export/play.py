"""Videos of trained agents: one evaluation episode, with several agents side by side on the same one."""

import base64
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlottery.config import Task
from rlottery.envs.rendering import RenderingError
from rlottery.errors import StudyError
from rlottery.export.finished_run import read_finished
from rlottery.export.new_file import check_new, write_new
from rlottery.export.recording import EpisodeEnd, FilmedRun
from rlottery.export.recording import __name__ as RECORDING
from rlottery.export.video import VideoFormat, check_encoder
from rlottery.processes.children import ChildError, call_in_child
from rlottery.storage.owned_files import OwnedFiles
from rlottery.storage.paths import DENSE, Store
from rlottery.storage.trust import UntrustedError, allow_code_of_run

SIZE = (320, 240)
"""Width and height of an agent's picture, in pixels."""
SIDES = range(64, 1921)
"""Allowed widths and heights."""
MOST_AGENTS = 16

REPORT_BYTES = 400_000
"""Size limit of a video in a report, which is part of the page."""
MOST_BYTES = 10 * REPORT_BYTES
"""Largest existing file that is reused as a report's video; a larger one was not written by rlottery."""
REPORT_SECONDS = 10.0
"""Longest part of an episode that a report shows."""

PLAY_SECONDS, FILM_SECONDS = 3600.0, 180.0
"""The longest that recording may take, for a video of the user's and for one in a report."""


@dataclass(frozen=True)
class Played:
    """A video, and the results of the episode that it shows."""

    file: Path
    bytes: int
    episode: int
    endings: tuple[EpisodeEnd, ...]

    def __str__(self) -> str:
        lines = [f"Wrote {self.file}, {self.bytes:,} bytes: evaluation episode {self.episode}."]
        return "\n".join([*lines, *map(str, self.endings)])


def play(
    folders: Sequence[Path],
    to: Path | None = None,
    episode: int = 0,
    size: tuple[int, int] = SIZE,
    *,
    trust: bool = False,
) -> Played:
    """Make a video of finished runs of one task, side by side, on one evaluation episode with the same start and goal.

    A second of the video is a second of the task. An agent whose episode ends early keeps its last picture.

    Args:
        folders: the folders of the runs.
        to: the file, .mp4 or .gif; None for an MP4 in the working directory that is named after the runs.
        episode: number of the evaluation episode in the study of the first run, from 0.
        size: width and height of each agent's picture, both even.
        trust: whether the task's environment may be made even if the runs are of somebody else's study.

    Raises:
        UntrustedError: your own commands have not run the task with these arguments in that study, and not `trust`.
        StudyError: runs are not finished or of different tasks, files are damaged, or the video's file exists or can't
            be written.
        TaskError: the task can't be made.
        RenderingError: the task can't be rendered on this machine, or its code ended or hung while it was; or MP4 can't
            be written here.
    """
    suffix = to.suffix.lower() if to else ".mp4"
    if suffix not in (".mp4", ".gif"):
        raise StudyError(f"{to} has no known video format. Give a name that ends in .mp4 or .gif: --to FILE")
    video_format: VideoFormat = "gif" if suffix == ".gif" else "mp4"
    if not 1 <= len(folders) <= MOST_AGENTS:
        raise StudyError(f"Give the folders of 1 to {MOST_AGENTS} runs, not {len(folders)}.")
    if any(side not in SIDES or side % 2 for side in size):
        allowed = f"must be even and within {SIDES[0]} to {SIDES[-1]}, not {size[0]}x{size[1]}"
        raise StudyError(f"The width and height of a picture {allowed}.")
    tasks = [read_finished(folder).task for folder in folders]
    check_encoder(video_format)
    for folder, task in zip(folders, tasks, strict=True):
        allow_code_of_run(folder, task, trust=trust, what="A video")
    runs = [FilmedRun.read(folder) for folder in folders]
    for run in runs[1:]:
        if run.task != runs[0].task:
            raise StudyError(
                f"Runs in one video must be of the same task, but {run.folder} is of {_shown(run.task)} and "
                f"{runs[0].folder} of {_shown(runs[0].task)}."
            )
    runs[0].episode_seed(episode)
    file = to or Path(f"{runs[0].task.name}_{'_beside_'.join(f'seed_{run.seed}_{run.arm}' for run in runs)[:150]}.mp4")
    check_new(file)
    data, endings = _recorded(runs[0].task, folders, episode, video_format, size, seconds=PLAY_SECONDS)
    write_new(file, data)
    return Played(file, len(data), episode, endings)


@dataclass(frozen=True)
class ReportFilm:
    """A short video of a dense agent next to a ticket, for a report's page: the start of the first evaluation episode.

    It is kept in the study's report folder, and made again when one of the agents has changed.

    Attributes:
        files: the videos that reports keep in that folder.
    """

    store: Store
    task: Task
    arm: str
    seed: int
    files: OwnedFiles

    def kept(self) -> bytes | None:
        """The video if a report of this user's made it with this version of rlottery, and it is unchanged.

        Runs no code. Raises StudyError if a run isn't finished.
        """
        return self.files.read(self._name(), MOST_BYTES)

    def make(self, *, trust: bool = False) -> tuple[bytes, list[str]]:
        """Make the video and keep it; and a line for each file that was in the way. Runs the task's code.

        Args:
            trust: as for `play`.

        Raises:
            RlotteryError: it can't be made, or its task may not be run.
            OSError: it can't be written.
        """
        try:
            for folder in self._folders:
                allow_code_of_run(folder, read_finished(folder).task, trust=trust, what="A video")
        except UntrustedError:
            again = f"`rlottery report {shlex.quote(str(self.store.root))} --trust` makes them."
            raise UntrustedError(
                f"none is made, because it would run code of a study that no command of yours has run. {again}"
            ) from None
        check_encoder("mp4")
        name, limit = self._name(), (REPORT_BYTES, REPORT_SECONDS)
        data, _ = _recorded(self.task, self._folders, 0, "mp4", SIZE, limit, seconds=FILM_SECONDS)
        of_arm = re.compile(re.escape(self._name_of("")) + r"[0-9a-f]{12}-[0-9a-f]{12}\.mp4")
        outdated = {other for other in self.files.names() if of_arm.fullmatch(other)} - {name}
        return data, self.files.update({name: data}, outdated)

    @property
    def _folders(self) -> list[Path]:
        return [self.store.run(self.task.name, self.seed, name).folder for name in (DENSE, self.arm)]

    def _name(self) -> str:
        return self._name_of("-".join(read_finished(folder).digest[:12] for folder in self._folders) + ".mp4")

    def _name_of(self, agents: str) -> str:
        return f"film_{self.task.name}_seed_{self.seed}_{self.arm}_{agents}"


def _recorded(
    task: Task, folders: Sequence[Path], *arguments: Any, seconds: float
) -> tuple[bytes, tuple[EpisodeEnd, ...]]:
    """What `record` returns for these arguments, in a child process: rendering can't end or hang this one."""
    places = [str(folder.absolute()) for folder in folders]
    try:
        data, endings = call_in_child(f"{RECORDING}:record", places, *arguments, seconds=seconds)
    except ChildError as error:
        raise RenderingError(f"No video of {task.id} could be made: {error}") from None
    return base64.b64decode(data), tuple(EpisodeEnd(*fields) for fields in endings)


def _shown(task: Task) -> str:
    return f"{task.id} with {task.kwargs}" if task.kwargs else task.id
