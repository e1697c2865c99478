"""Videos of trained agents: one evaluation episode, with several agents side by side on the same one."""

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rlottery.config import Task
from rlottery.envs.rendering import BACKGROUND, Picture, Stage, without_a_screen
from rlottery.errors import RlotteryError, StudyError
from rlottery.export.finished_run import read_finished
from rlottery.export.new_file import check_new, write_new
from rlottery.export.policy import Policy, load_agent
from rlottery.export.video import SizeLimit, VideoFormat, stride_of, video_bytes
from rlottery.seeding import evaluation_seeds
from rlottery.storage.disk import read_bytes, write_bytes
from rlottery.storage.manifests import DamagedError
from rlottery.storage.paths import DENSE, Store

SIZE = (320, 240)
"""Width and height of an agent's picture, in pixels."""
SIDES = range(64, 1921)
"""Allowed widths and heights."""
HEADER = 44
"""Height of the text above a picture."""
AGENTS_PER_ROW = 4
MOST_AGENTS = 16

REPORT_BYTES = 400_000
"""Size limit of a video in a report, which is part of the page."""
MOST_BYTES = 10 * REPORT_BYTES
"""Largest existing file that is reused as a report's video; a larger one was not written by rlottery."""
REPORT_SECONDS = 10.0
"""Longest part of an episode that a report shows."""

_PLAIN, _FAINT, _GOOD = (235, 235, 235), (160, 160, 165), (90, 210, 120)


@dataclass(frozen=True)
class Ending:
    """The result of an agent's episode. `success` is None if the task doesn't report it."""

    arm: str
    seed: int
    total: float
    steps: int
    success: bool | None

    def __str__(self) -> str:
        success = "" if self.success is None else f", {'success' if self.success else 'no success'}"
        return f"{self.arm}, seed {self.seed}: return {self.total:,.1f} in {self.steps:,} steps{success}."


@dataclass(frozen=True)
class Played:
    """A video, and the results of the episode that it shows."""

    file: Path
    bytes: int
    episode: int
    endings: tuple[Ending, ...]

    def __str__(self) -> str:
        lines = [f"Wrote {self.file}, {self.bytes:,} bytes: evaluation episode {self.episode}."]
        return "\n".join([*lines, *map(str, self.endings)])


def play(folders: Sequence[Path], to: Path | None = None, episode: int = 0, size: tuple[int, int] = SIZE) -> Played:
    """Make a video of finished runs of one task, side by side, on one evaluation episode with the same start and goal.

    A second of the video is a second of the task. An agent whose episode ends early keeps its last picture.

    Args:
        folders: the folders of the runs.
        to: the file, .mp4 or .gif; None for an MP4 in the working directory that is named after the runs.
        episode: number of the evaluation episode in the study of the first run, from 0.
        size: width and height of each agent's picture, both even.

    Raises:
        StudyError: runs are not finished or of different tasks, files are damaged, or the video's file exists or can't
            be written.
        TaskError: the task can't be made.
        RenderingError: the task can't be rendered on this machine.
    """
    suffix = to.suffix.lower() if to else ".mp4"
    if suffix not in (".mp4", ".gif"):
        raise StudyError(f"{to} has no known video format. Give a name that ends in .mp4 or .gif: --to FILE")
    if not 1 <= len(folders) <= MOST_AGENTS:
        raise StudyError(f"Give the folders of 1 to {MOST_AGENTS} runs, not {len(folders)}.")
    if any(side not in SIDES or side % 2 for side in size):
        allowed = f"must be even and within {SIDES[0]} to {SIDES[-1]}, not {size[0]}x{size[1]}"
        raise StudyError(f"The width and height of a picture {allowed}.")
    runs = [_Run.read(folder) for folder in folders]
    for run in runs[1:]:
        if run.task != runs[0].task:
            raise StudyError(
                f"Runs in one video must be of the same task, but {run.folder} is of {_shown(run.task)} and "
                f"{runs[0].folder} of {_shown(runs[0].task)}."
            )
    seed = runs[0].episode_seed(episode)
    file = to or Path(f"{runs[0].task.name}_{'_beside_'.join(f'seed_{run.seed}_{run.arm}' for run in runs)[:150]}.mp4")
    check_new(file)
    data, endings = _filmed(runs, seed, "gif" if suffix == ".gif" else "mp4", size)
    write_new(file, data)
    return Played(file, len(data), episode, endings)


@dataclass(frozen=True)
class NoFilm:
    """The reason why there is no video, in a sentence."""

    why: str


def film_for_report(store: Store, task: Task, arm: str, seed: int) -> tuple[str, bytes] | NoFilm:
    """Media type and content of a short video of a dense agent and a ticket, for a report's page.

    It shows the first seconds of the first evaluation episode. It is stored in the report's folder and made again when
    one of the agents has changed. Errors are returned, not raised: a report doesn't fail because of a missing video.
    """
    try:
        return "video/mp4", _film_for_report(store, task, arm, seed)
    except (RlotteryError, OSError) as error:
        return NoFilm(str(error))
    except Exception as error:  # drivers, codecs and environments may raise anything
        return NoFilm(f"No video of {task.id} could be made: {type(error).__name__}: {error}")


def _film_for_report(store: Store, task: Task, arm: str, seed: int) -> bytes:
    folders = [store.run(task.name, seed, name).folder for name in (DENSE, arm)]
    file = store.film(task.name, seed, arm, "-".join(read_finished(folder).digest[:12] for folder in folders))
    if file.is_file():
        return read_bytes(file, MOST_BYTES)
    runs = [_Run.read(folder) for folder in folders]
    data, _ = _filmed(runs, runs[0].episode_seed(0), "mp4", SIZE, SizeLimit(REPORT_BYTES, REPORT_SECONDS))
    write_bytes(file, data)
    for outdated in set(store.films(task.name, seed, arm)) - {file}:
        outdated.unlink(missing_ok=True)
    return data


@dataclass(frozen=True)
class _Run:
    """A finished run, how its study evaluates it, and its policy."""

    folder: Path
    task: Task
    seed: int
    arm: str
    study: str
    episodes: int
    policy: Policy

    @classmethod
    def read(cls, folder: Path) -> "_Run":
        run, policy = read_finished(folder), load_agent(folder)
        fingerprint = run.manifest["fingerprint"]
        study, episodes = fingerprint.get("name"), fingerprint.get("evaluation", {}).get("episodes")
        if not isinstance(study, str) or not isinstance(episodes, int):
            raise DamagedError(run.files.manifest, "it doesn't say how the run was evaluated")
        return cls(folder, run.task, run.seed, run.arm, study, episodes, policy)

    def episode_seed(self, episode: int) -> int:
        if not 0 <= episode < self.episodes:
            raise StudyError(
                f"The run in {self.folder} has no evaluation episode {episode}: episodes are numbered 0 to "
                f"{self.episodes - 1}."
            )
        return evaluation_seeds(self.study, self.task.name, self.episodes)[episode]


@dataclass
class _Player:
    """One agent in its environment: its episode so far, and the last picture with its text."""

    run: _Run
    stage: Stage
    observation: np.ndarray
    total: float = 0.0
    steps: int = 0
    success: bool | None = None
    over: bool = False
    picture: Picture = field(default_factory=lambda: np.empty((0, 0, 3), np.uint8))

    def act(self) -> None:
        """Take one step."""
        outcome = self.stage.environment.step(self.run.policy.squashed(self.observation))
        self.observation, self.over = outcome.observation, outcome.over
        self.total, self.steps = self.total + outcome.reward, self.steps + 1
        if outcome.success is not None:
            self.success = bool(self.success or outcome.success)

    def look(self) -> None:
        """Render the current picture."""
        picture = self.stage.picture()
        header = Image.new("RGB", (picture.shape[1], HEADER), BACKGROUND)
        draw, policy = ImageDraw.Draw(header), self.run.policy
        sparse = f"{policy.sparsity:.1%} sparse".replace("%", " %") if policy.sparsity else ""
        steps = f"ended at step {self.steps:,}" if self.over else f"step {self.steps:,}"
        status, colour = ("success", _GOOD) if self.success else (steps, _FAINT)
        _line(draw, 4, (f"{self.run.arm}, seed {self.run.seed}", _PLAIN), (sparse, _FAINT))
        _line(draw, 24, (f"return {self.total:,.1f}", _PLAIN), (status, colour))
        self.picture = np.concatenate([np.asarray(header), picture])

    @property
    def ending(self) -> Ending:
        return Ending(self.run.arm, self.run.seed, self.total, self.steps, self.success)


def _filmed(
    runs: Sequence[_Run], seed: int, video_format: VideoFormat, size: tuple[int, int], limit: SizeLimit | None = None
) -> tuple[bytes, tuple[Ending, ...]]:
    """A video of the episode of `seed`, or of its beginning within `limit`, and its results."""
    with ExitStack() as stack:
        players: list[_Player] = []
        for run in runs:
            stage = Stage(run.task, size)
            stack.callback(stage.close)
            if stage.needs_mujoco and not players:
                stack.enter_context(without_a_screen())
            players.append(_Player(run, stage, stage.environment.reset(seed)))
        per_second = Fraction(players[0].stage.steps_per_second).limit_denominator(1_000)
        stride = stride_of(video_format, float(per_second))
        pictures = _pictures(players, stride, limit.seconds * float(per_second) if limit else math.inf)
        data = video_bytes(pictures, video_format, per_second / stride, limit)
        return data, tuple(player.ending for player in players)


def _pictures(players: Sequence[_Player], stride: int, most_steps: float) -> Iterator[Picture]:
    """The pictures at the start, after every `stride` steps, and at the end."""
    for player in players:
        player.look()
    yield _side_by_side([player.picture for player in players])
    for step in itertools.count(1):
        playing = [player for player in players if not player.over]
        for player in playing:
            player.act()
        ends = all(player.over for player in players) or step >= most_steps
        shown = ends or step % stride == 0
        for player in playing:
            if shown or player.over:
                player.look()
        if shown:
            yield _side_by_side([player.picture for player in players])
        if ends:
            return


def _side_by_side(pictures: Sequence[Picture]) -> Picture:
    """Several pictures of one size as one, in rows."""
    columns = min(len(pictures), AGENTS_PER_ROW)
    rows = -(-len(pictures) // columns)
    blank = np.full_like(pictures[0], BACKGROUND)
    filled = [*pictures, *[blank] * (rows * columns - len(pictures))]
    return np.concatenate([np.concatenate(filled[row * columns :][:columns], axis=1) for row in range(rows)])


def _line(
    draw: ImageDraw.ImageDraw, top: int, left: tuple[str, tuple[int, ...]], right: tuple[str, tuple[int, ...]]
) -> None:
    """Write text on both sides. The left text is shortened if it would touch the right one."""
    font, width = ImageFont.load_default(14), draw.im.size[0]
    end = width - 8 - font.getlength(right[0])
    text = left[0]
    while len(text) > 1 and 8 + font.getlength(text) > end - 8:
        text = text.removesuffix("…")[:-1] + "…"
    draw.text((8, top), text, left[1], font)
    draw.text((end, top), right[0], right[1], font)


def _shown(task: Task) -> str:
    return f"{task.id} with {task.kwargs}" if task.kwargs else task.id
