"""The record of a run: its manifest is written when the run ends, whether it is done, has failed or has diverged."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rlottery.errors import DivergedError, located_text
from rlottery.processes.user_code import no_exit
from rlottery.storage.disk import write_arrays
from rlottery.storage.fence import check_fence
from rlottery.storage.manifests import Manifest, ManifestStatus, RunFacts, file_entry, write_manifest
from rlottery.storage.paths import RunFiles
from rlottery.storage.syncing import writing
from rlottery.study.planning.fingerprints import Fingerprint
from rlottery.study.planning.finished_runs import manifest_head
from rlottery.study.planning.jobs import Job
from rlottery.study.planning.versions_now import code_versions
from rlottery.study.stages.faults import fault_of
from rlottery.study.versions import versions
from rlottery.training.checkpoints import Checkpoints


@dataclass(frozen=True)
class RunResult:
    """What a run's work produced: its files, and facts that are known only now."""

    names: Sequence[str]
    facts: RunFacts


def record_run(
    job: Job, files: RunFiles, fingerprint: Fingerprint, known: RunFacts, work: Callable[[Checkpoints], RunResult]
) -> None:
    """Do a run's work, write its manifest and remove its checkpoints.

    A run that fails or diverges gets a manifest too. A run that is stopped, or that meets a fault of the machine (such
    as a full disk), gets none: it continues from its checkpoint.

    The order is what a power cut asks for: the files that the manifest lists are on the disk before the manifest is,
    and the manifest is before the checkpoints are removed.

    Args:
        files: where the run is trained: `job.files`, or those aside.
        known: facts that are known before the work starts.
        work: trains the run, and writes its files. What it raises is raised again.
    """
    made_with = versions() | code_versions(job.task)
    checkpoints = Checkpoints(files, fingerprint, job.config.checkpoint_seconds, made_with)
    with writing(files.folder):
        check_fence()
        files.manifest.unlink(missing_ok=True)
        files.diverged.unlink(missing_ok=True)

    def manifest_of(status: ManifestStatus, names: Sequence[str], facts: RunFacts) -> Manifest:
        """The manifest of the run if it ends now."""
        sessions = checkpoints.sessions
        common: Manifest = {
            **manifest_head(job, status, fingerprint),
            "env_steps": job.env_steps,
            "versions": made_with,
            "started": sessions.past[0]["started"],
            "seconds": sessions.worked(),
            "sittings": sessions.past,
            "checkpoints": {"written": sessions.written, "seconds": sessions.cost},
            "files": {name: file_entry(files.folder / name) for name in names},
        }
        return {**common, **facts}

    try:
        with no_exit(f"The environment of {job.task.id}, or a library,"):
            result = work(checkpoints)
        manifest = manifest_of("done", result.names, {**known, **result.facts})
    except DivergedError as error:
        write_arrays(files.diverged, error.arrays)
        reason = f"{error}\nThe batch and the agent are in {files.diverged}."
        names = [files.metrics.name, files.diverged.name]
        ended: RunFacts = {**known, "error": reason}
        if job.stage == "dense":
            ended["replay"] = "released"
        write_manifest(files, manifest_of("diverged", names, ended))
        checkpoints.remove()
        raise DivergedError(reason, error.arrays) from None
    except Exception as error:
        if fault_of(error, job.config.data) is None:  # otherwise the run is not over
            facts: RunFacts = {"error": located_text(error)}
            if "round_of" in known:
                facts["round_of"] = known["round_of"]
            with contextlib.suppress(OSError):  # the run's own error is the one to know
                write_manifest(files, manifest_of("failed", (), facts))
        raise
    write_manifest(files, manifest)
    checkpoints.remove()
