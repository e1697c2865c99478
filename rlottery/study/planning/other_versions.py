"""Work that a command would do with other versions than the results that it continues, repeats or compares with."""

import contextlib
from collections.abc import Callable, Iterable, Iterator

from rlottery.config import Config
from rlottery.errors import StudyError
from rlottery.report.wording import named, plural
from rlottery.storage.checkpoint_record import checkpoint_to_continue
from rlottery.storage.made_with import Versions, changes
from rlottery.study.planning.earlier import repeated
from rlottery.study.planning.finished_runs import ended_manifest
from rlottery.study.planning.jobs import TRAINING, UNTRAINED, Job
from rlottery.study.planning.untrained import untrained_scores
from rlottery.study.planning.versions_now import code_versions, versions_in_worker

_AGAIN, _CONTINUED, _COMPARED = "again", "continued", "compared"
_TEXTS = {
    _AGAIN: "{number} will be trained again with other versions than before: {changes} ({labels}). If this gives other "
    "bits, no finished result is replaced: the run fails after its training, and its message says what to do.",
    _CONTINUED: "{number} will continue with other versions than before: {changes} ({labels}). The last digits may "
    "depend on where they were interrupted.",
    _COMPARED: "{number} will be done with other versions than the dense agents that they are compared with: {changes} "
    "({labels}). Differences between scores may come from that.",
}


def report_other_versions(config: Config, jobs: Iterable[Job], say: Callable[[str], None]) -> None:
    """Say which of the jobs that are to do would be done with other versions than what they build on.

    Raises StudyError with the same lines if the config has ``other_versions: refuse``.
    """
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    jobs = list(jobs)
    shared = versions_in_worker(config) if jobs else {}
    codes = {index: code_versions(config.tasks[index]) for index in {job.task_index for job in jobs}}
    for job in jobs:
        now = shared | codes[job.task_index]
        for how, then in _built_on(job):
            if differences := changes(then, now):
                found.setdefault((how, differences), []).append(job.label)
    lines = [
        _TEXTS[how].format(number=plural(len(labels), "job"), changes=", ".join(differences), labels=named(labels))
        for (how, differences), labels in found.items()
    ]
    if lines and config.other_versions == "refuse":
        listed = "\n  ".join(lines)
        raise StudyError(
            f"This study refuses other versions (other_versions: refuse):\n  {listed}\n"
            "Restore the versions, train the whole study with the current ones in another folder with "
            "data=ANOTHER_FOLDER, or set other_versions=report."
        )
    for line in lines:
        say(line)


def _built_on(job: Job) -> Iterator[tuple[str, Versions]]:
    """How the job builds on earlier work, and the versions of that work. Work that can't be read has none."""
    with contextlib.suppress(StudyError):
        if (earlier := repeated(job)) is not None:
            yield _AGAIN, earlier.versions
        elif job.stage == UNTRAINED and (begun := untrained_scores(job)) is not None and begun.done:
            yield _CONTINUED, begun.versions
        elif job.stage == "rewind" and (dense := ended_manifest(job.dense_files)) is not None:
            yield _AGAIN, dense.get("versions", {})
        elif job.stage in TRAINING and (found := checkpoint_to_continue(job.files)) is not None:
            yield from ((_CONTINUED, session.get("versions", {})) for session in found.record["sittings"][-1:])
    if job.arm is not None:
        with contextlib.suppress(StudyError):
            if (dense := ended_manifest(job.dense_files)) is not None:
                yield _COMPARED, dense.get("versions", {})
