"""What there is of a task's untrained policies, compared with what the config asks for."""

import contextlib

from rlottery.errors import StudyError
from rlottery.storage.manifests import DamagedError
from rlottery.storage.untrained_record import UntrainedScores, read_untrained
from rlottery.study.planning.fingerprints import differing_keys, untrained_fingerprint
from rlottery.study.planning.jobs import Job


def untrained_scores(job: Job) -> UntrainedScores | None:
    """The scores of the untrained policies that have been evaluated; None if there are none, or they can't be read.

    Raises StudyError if they were made by another config, or if a later version of rlottery wrote them.
    """
    files = job.untrained_files
    found = None
    with contextlib.suppress(DamagedError):
        found = read_untrained(files)
    if found is None:
        return None
    if differences := differing_keys(untrained_fingerprint(job.config, job.task), found.fingerprint):
        listed = "\n  ".join(differences)
        raise StudyError(
            f"{files.scores} has the untrained policies of another study:\n  {listed}\n"
            "Restore the values, store this study in another folder with data=ANOTHER_FOLDER, or delete that file."
        )
    return found


def untrained_is_done(job: Job) -> bool:
    """Whether as many untrained policies have been evaluated as the config asks for. Raises as `untrained_scores`."""
    found = untrained_scores(job)
    return found is not None and found.done >= job.config.evaluation.untrained_policies
