"""The scores of a task's untrained policies, and the file of them in a study's data folder.

`untrained/TASK/scores.json` contains a checksum, as manifests do. It is written as often as checkpoints while the
policies are evaluated. A damaged file is replaced: the policies are evaluated again, and score the same.
"""

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

from pydantic import Field

from rlottery.config.sections import LEAST_UNTRAINED, MOST_UNTRAINED
from rlottery.storage.manifests import MANIFEST_FORMAT, DamagedError, checked, read_sealed, write_sealed
from rlottery.storage.paths import UntrainedFiles
from rlottery.storage.stored_types import MOST_ENTRIES, Fingerprint, LongText, Name, Number, Share


@dataclass(frozen=True)
class UntrainedScores:
    """What freshly initialised dense policies of a task score, one episode each.

    Attributes:
        fingerprint: what they were made from.
        policies: how many were asked for.
        returns, successes: one entry per policy, in order. A success is None where the task reported none.
        versions: the software of the last session.
    """

    fingerprint: Fingerprint
    policies: Annotated[int, Field(strict=True, ge=LEAST_UNTRAINED, le=MOST_UNTRAINED)]
    returns: Annotated[list[Number], Field(max_length=MOST_ENTRIES)]
    successes: Annotated[list[Share | None], Field(max_length=MOST_ENTRIES)]
    versions: dict[Name, LongText]

    @property
    def done(self) -> int:
        """How many policies have been evaluated."""
        return min(len(self.returns), len(self.successes))

    def first(self, asked: int) -> "UntrainedScores | None":
        """Those of the first `asked` policies; None if not all of these have been evaluated.

        If fewer were asked for when the file was written, those are enough.
        """
        needed = min(asked, self.policies)
        if self.done < needed:
            return None
        return replace(self, policies=needed, returns=self.returns[:needed], successes=self.successes[:needed])


def read_untrained(files: UntrainedFiles) -> UntrainedScores | None:
    """The scores in the file, or None if there is none.

    Raises DamagedError, or StudyError if a later version of rlottery wrote it.
    """
    try:
        content: Any = read_sealed(files.scores)
    except FileNotFoundError:
        return None
    return checked(UntrainedScores, content.get("untrained"), files.scores)


def untrained_damage(files: UntrainedFiles) -> list[DamagedError]:
    """What is wrong with the file, which exists once the policies have begun to be evaluated. Raises StudyError."""
    try:
        found = read_untrained(files)
    except DamagedError as error:
        return [error]
    begun = files.log("untrained").exists()
    return [DamagedError(files.scores, "it is missing")] if found is None and begun else []


def write_untrained(files: UntrainedFiles, task: str, scores: UntrainedScores) -> None:
    """Write the scores, atomically. Raises WriteError."""
    write_sealed(files.scores, {"format_version": MANIFEST_FORMAT, "task": task, "untrained": asdict(scores)})
