"""Earlier results of a run that is trained again, and what was made from them. No other result ever replaces them.

A run is trained again if its files are damaged or deleted, or if its replay buffer is needed once more. With the same
versions on the same machine this gives the same bits. With others it may not, so the run is trained in a folder of its
own (`RunFiles.aside`), and what comes out is compared with the digests of manifests, and of the finished masks and runs
that were made from the earlier result.
"""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rlottery.config.recipes import ROUND
from rlottery.errors import MaskError, StudyError
from rlottery.pruning.mask_file import read_mask
from rlottery.report.wording import named, some_folders
from rlottery.storage.checkpoint_record import record_paths
from rlottery.storage.made_with import Versions, changes
from rlottery.storage.manifests import DamagedError, Manifest, file_entry, find_damage, read_manifest
from rlottery.storage.paths import DENSE, RunFiles
from rlottery.study.planning.arms import arms_of
from rlottery.study.planning.fingerprints import Fingerprint, differing_keys
from rlottery.study.planning.finished_runs import damage_of_job, ended_manifest
from rlottery.study.planning.jobs import TRAINING, Job


@dataclass(frozen=True)
class Earlier:
    """What is recorded about an earlier result of a run.

    Attributes:
        manifest: the run's own; None if it is missing or damaged.
        status: how it ended, "done" or "diverged".
        digests: the SHA-256 of its files by name, without metrics, which contain times. More than one where records
            contradict each other.
        dependents: the folders of the finished masks and runs that were made from these files.
        readable: whether the result itself can still be read: how the run ended, and its metrics.
        versions: what it was made with, or the first of its dependents; empty if nothing says so.
    """

    manifest: Manifest | None
    status: str
    digests: Mapping[str, frozenset[str]]
    dependents: tuple[Path, ...]
    readable: bool
    versions: Versions

    def differing(self, again: Manifest) -> list[str]:
        """In what the run that was trained again differs: names of files, or how it ended."""
        return _differing(self.status, self.digests, again)

    def allows(self, again: Manifest) -> bool:
        """Whether the run that was trained again may take its place."""
        return not (self.dependents or self.readable) or not self.differing(again)


class _Use(NamedTuple):
    """A digest that something finished was made from.

    Attributes:
        holder: the folder of the mask or the run.
        key: "initial", "agent" or "start", as in fingerprints.
        step: of the rewind point, if the key is "start" and it is one.
        of_round: whether the file is of an earlier round of iterative pruning, and not of the dense agent.
    """

    holder: Path
    key: str
    sha256: str
    step: int | None
    of_round: bool
    versions: Versions


def earlier_of(job: Job) -> Earlier | None:
    """What is recorded about an earlier result of the job's run; None if there is none, or if that run failed."""
    manifest = _ended(job.files)
    left = {} if manifest is not None else _left_digests(job.files)
    if manifest is None and not left and job.arm is not None and job.round_of is None:
        return None  # nothing is made from its agent: only rounds of iterative pruning are scored
    uses = list(_uses_in(job.files.folder.parent))
    if manifest is not None:
        entries = manifest["files"]
        known = {entry["sha256"] for entry in entries.values()}
        metrics = {name: entry for name, entry in entries.items() if name == job.files.metrics.name}
        readable = manifest["status"] == "diverged" or not find_damage(job.files.folder, metrics)
        return Earlier(
            manifest,
            manifest["status"],
            _digests_in(job.files, manifest),
            tuple(dict.fromkeys(use.holder for use in uses if use.sha256 in known and use.holder != job.files.folder)),
            readable,
            manifest.get("versions", {}),
        )
    scored = {} if job.round_of is None else _scored_rounds(job)
    files = [(use, name) for use in uses if (name := _name_of(use, job, scored)) is not None]
    if not files and not left:
        return None
    digests: dict[str, frozenset[str]] = {}
    for use, name in files:
        digests[name] = digests.get(name, frozenset()) | {use.sha256}
    status = "done" if files else _status_of(job.files, left)
    versions = next((use.versions for use, _ in files if use.versions), {})
    dependents = tuple(dict.fromkeys(use.holder for use, _ in files))
    return Earlier(None, status, left | digests, dependents, bool(left), versions)


def repeated(job: Job) -> Earlier | None:
    """The earlier result of a run that the job, which is to do, trains again.

    None if there is none, or if the job only waits for others: its run will be found done.
    """
    if job.stage not in TRAINING:
        return None
    waits = job.stage == "ticket" and _ended(job.files) is not None and not damage_of_job(job)
    return None if waits else earlier_of(job)


def recorded_rewind_steps(earlier: Earlier | None) -> set[int]:
    """The steps at which the earlier dense run saved an agent for others to rewind to."""
    names = earlier.digests if earlier is not None else ()
    numbers = [name.removeprefix("rewind_").partition(".")[0] for name in names if name.startswith("rewind_")]
    return {int(number) for number in numbers if number.isdecimal()}


def trained_aside(files: RunFiles, fingerprint: Fingerprint) -> Manifest | None:
    """The manifest of a run that was trained again and whose files wait to be put in place; None if it has to train.

    Some of the files may be in place already.
    """
    again = _ended(files.aside)
    if again is None or differing_keys(fingerprint, again["fingerprint"]):
        return None
    entries = ({name: entry} for name, entry in again["files"].items())
    lost = any(find_damage(files.aside.folder, one) and find_damage(files.folder, one) for one in entries)
    return None if lost else again


def is_known_to_differ(files: RunFiles) -> bool | None:
    """Whether a run that was trained again, and waits aside, differs from the earlier result in the run's own folder.

    None if none waits. What other runs were made from is compared only by the command that trains.
    """
    again = _ended(files.aside)
    if again is None:
        return None
    manifest = _ended(files)
    if manifest is not None:
        return bool(_differing(manifest["status"], _digests_in(files, manifest), again))
    left = _left_digests(files)
    return bool(left) and bool(_differing(_status_of(files, left), left, again))


def check_aside(job: Job, fingerprint: Fingerprint) -> None:
    """Raise StudyError if the run was trained again with the current versions, and came out as another result."""
    again = trained_aside(job.files, fingerprint)
    if again is None or (earlier := earlier_of(job)) is None or earlier.allows(again):
        return
    from rlottery.study.planning.versions_now import versions_now  # `status` reads, and needs no kernels

    if not changes(again.get("versions", {}), versions_now(job)):
        raise other_result_error(job, earlier, again)


def other_result_error(job: Job, earlier: Earlier, again: Manifest) -> StudyError:
    """The error for a run that was trained again and came out as another result than the one that is kept."""
    made_from = [str(folder) for folder in earlier.dependents]
    aside = job.files.aside.folder
    found = changes(earlier.versions, again.get("versions", {}))
    also = some_folders(earlier.dependents)
    if job.stage == DENSE and made_from:  # all runs of a seed are made from its dense agent
        also = f"all other folders in {job.files.folder.parent}"
    if found:
        why = f"It was made with other versions: {', '.join(found)}."
        first = "Restore these versions"
    else:
        why = (
            "No version that is recorded differs. Code of the environment may have changed, and runs that are trained "
            "together on a GPU repeat only up to rounding."
        )
        first = f"Find the difference, delete {aside}"
    lines = [
        f"{job.label} was trained again and differs from the earlier result in: {', '.join(earlier.differing(again))}.",
        why,
        "Finished results are never replaced, so all files stay as they were"
        + (f", with what was made from them: {named(made_from)}." if made_from else "."),
        f"What was trained now is in {aside}. Choose one:",
        f"  - {first}, and run this command again.",
        "  - Train the whole study with the current versions, in another folder: data=ANOTHER_FOLDER",
        f"  - Discard the earlier results, and keep the new one: delete everything in {job.files.folder} but "
        f"{aside.name!r}{f', and {also}' if also else ''}. Then run this command again.",
    ]
    return StudyError("\n".join(lines))


def inputs_of(fingerprint: Mapping[str, Any]) -> dict[str, str]:
    """The digests of what a run or a mask was made from."""
    return {name: text for name, text in below(fingerprint, "inputs").items() if isinstance(text, str)}


def below(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The mapping under a key; empty if there is none."""
    found = values.get(key)
    return found if isinstance(found, Mapping) else {}


def _left_digests(files: RunFiles) -> dict[str, frozenset[str]]:
    """The digests of what a run ended with, if its manifest is damaged or was deleted: of its agent, or of what it
    diverged on. Empty if the run failed, or has not ended yet."""
    with contextlib.suppress(DamagedError):
        if read_manifest(files) is not None or record_paths(files):
            return {}
    for path in (files.agent, files.diverged):
        with contextlib.suppress(OSError):
            return {path.name: frozenset([file_entry(path)["sha256"]])}
    return {}


def _status_of(files: RunFiles, left: Collection[str]) -> str:
    """How a run without a manifest ended, by the names of the files that are left."""
    return "diverged" if files.diverged.name in left else "done"


def _digests_in(files: RunFiles, manifest: Manifest) -> dict[str, frozenset[str]]:
    """The digests in a manifest, without that of the metrics, which contain times."""
    entries = manifest["files"].items()
    return {name: frozenset([entry["sha256"]]) for name, entry in entries if name != files.metrics.name}


def _differing(status: str, digests: Mapping[str, frozenset[str]], again: Manifest) -> list[str]:
    if status != again["status"]:
        return [f"how it ended ({status}, and now {again['status']})"]
    found = {name: entry["sha256"] for name, entry in again["files"].items()}
    return [name for name, known in digests.items() if name in found and found[name] not in known]


def _ended(files: RunFiles) -> Manifest | None:
    with contextlib.suppress(DamagedError):
        return ended_manifest(files)
    return None


def _uses_in(seed_folder: Path) -> Iterator[_Use]:
    """What the finished masks and runs of a task and seed were made from."""
    for folder in sorted(seed_folder.iterdir()) if seed_folder.is_dir() else ():
        files, manifest = RunFiles(folder), None
        if not folder.is_dir() or folder.name == DENSE:
            continue
        with contextlib.suppress(StudyError):
            manifest = ended_manifest(files)
        versions: Versions = {} if manifest is None else manifest.get("versions", {})
        if manifest is not None:
            inputs = inputs_of(manifest["fingerprint"])
            step = below(below(manifest["fingerprint"], "arm"), "rewind").get("step")
            step = step if type(step) is int else None
            recipe = manifest.get("recipe", {})
            scoring = below(recipe, "of") if "of" in recipe else recipe  # a control starts where its ticket does
            later = "iterative" in below(scoring, "schedule") and _is_later(folder.name)
            for key in ("initial", "start"):
                if key in inputs:
                    yield _Use(folder, key, inputs[key], step if key == "start" else None, later, versions)
        with contextlib.suppress(MaskError):
            made_from = read_mask(files.mask).metadata["fingerprint"]
            inputs = inputs_of(made_from)
            later = "mask" in inputs and "control" not in below(made_from, "pruning")
            for key in ("initial", "agent"):
                if key in inputs:
                    yield _Use(folder, key, inputs[key], None, later, versions)


def _name_of(use: _Use, job: Job, scored: Mapping[str, str]) -> str | None:
    """The name of the file of the job's run that something was made from; None if the file is another run's."""
    files = job.files
    if job.arm is not None:
        of_this = use.of_round and use.key != "initial" and scored.get(use.holder.name) == job.arm_name
        return files.agent.name if of_this and use.step is None else None
    if use.key == "initial":
        return files.initial.name
    if use.step is not None:
        return files.rewind_point(use.step).name
    return None if use.of_round else files.agent.name


def _scored_rounds(job: Job) -> dict[str, str]:
    """The arm whose trained agent each arm of the config scores or starts from, if it isn't the dense agent."""
    arms = arms_of(job.config, None) if job.config.arms else []
    rounds = {arm.name: arm.root.scored for arm in arms}
    return {name: scored.name for name, scored in rounds.items() if scored is not None}


def _is_later(arm: str) -> bool:
    """Whether an arm of iterative pruning isn't the first round."""
    return not arm.endswith(f"{ROUND}1")
