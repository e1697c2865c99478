"""What `rlottery import` was asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from rlottery.config import ON_POLICY
from rlottery.errors import ConfigError, ForeignFileError

MOST_COLLECTED = 10_000_000


@dataclass(frozen=True)
class Request:
    """What to import, and where to.

    Attributes:
        agent, initial, replay: the files. A replay may be ``minari:ID``.
        initial_from_seed: whether the agent's library is to make its initial weights again.
        library_python: a Python that has the library, which may execute the files.
        mapping: which tensors of a file of weights are which layers.
        normalisation: the running statistics of observations and rewards.
        collect: how many environment steps to take with the agent, in place of a replay buffer; 0: none.
        task: the task's id; None for the only one of an existing study.
        algorithm: of the agent, to check it.
        seed: of the run; None for the agent's own, or 0.
        folder: of the study. If it has no config.yaml, one is written.
        study: the config file of an existing study, in place of `folder`.
        overrides: ``key.path=value`` for a new config.
    """

    agent: Path
    task: str | None = None
    initial: Path | None = None
    replay: Path | None = None
    algorithm: str | None = None
    seed: int | None = None
    folder: Path = Path()
    study: Path | None = None
    overrides: Sequence[str] = ()
    normalisation: Path | None = None
    collect: int = 0
    mapping: Path | None = None
    initial_from_seed: bool = False
    library_python: str | PathLike[str] | None = None

    @property
    def dataset(self) -> str | None:
        """The id of a Minari dataset that the replay is; None if it is a file, or there is none."""
        kind, colon, name = str(self.replay or "").partition(":")
        return name if colon and kind == "minari" else None

    def check(self) -> None:
        """Raise ConfigError if options contradict each other."""
        if self.collect and self.replay is not None:
            raise ConfigError("--collect and --replay exclude each other: leave one of them out.")
        if not 0 <= self.collect <= MOST_COLLECTED:
            raise ConfigError(
                f"--collect {self.collect}: must be a number of environment steps from 1 to {MOST_COLLECTED:,}."
            )
        if self.initial_from_seed and self.library_python is None:
            raise ConfigError(
                "--initial-from-seed needs the agent's library, which makes the weights again and executes what is "
                f"pickled in {self.agent}. If you trust that file, name a Python that has the library: "
                "--library-python PYTHON"
            )

    def check_replay(self, algorithm: str) -> None:
        """Raise ForeignFileError if an agent of this algorithm has no replay buffer, and one was given."""
        if self.replay is not None and algorithm in ON_POLICY:
            raise ForeignFileError(f"{self.replay}: agents of PPO have no replay buffer. Leave out --replay.")

    def check_collect(self, environments: int) -> None:
        """Raise ConfigError unless the steps to collect fit a number of environments at the same time."""
        if self.collect % environments:
            raise ConfigError(
                f"--collect {self.collect}: must be a multiple of training.environments ({environments})."
            )
