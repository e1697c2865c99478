"""The status of a study: which runs are done. Read from the files alone, also while workers run."""

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, cast

from rich.console import Group

from rlottery.config import Config
from rlottery.config.built_in import METHODS
from rlottery.errors import StudyError
from rlottery.report.version_lines import change_lines
from rlottery.report.wording import NOTHING, plural
from rlottery.safety.printable import on_one_line
from rlottery.storage.checkpoint_record import CheckpointRecord, checkpoint_to_continue
from rlottery.storage.locks import holder_of
from rlottery.storage.made_with import MadeWith, made_with
from rlottery.storage.manifests import DamagedError, Manifest, read_manifest
from rlottery.storage.open_study import check_data_folder
from rlottery.storage.paths import DENSE, RunFiles, Store, UntrainedFiles
from rlottery.storage.progress import Progress, read_progress
from rlottery.storage.trained_with import other_settings_message
from rlottery.storage.trial_record import deviation_lines, read_trials
from rlottery.storage.untrained_record import read_untrained, untrained_damage
from rlottery.study.durations import duration
from rlottery.study.execution.allocations import Open, open_runs
from rlottery.study.line_tables import RunLine, RunTable, Sentence, StateTable
from rlottery.study.planning.arms import arms_of
from rlottery.study.planning.blocked import Place, blocked_runs
from rlottery.study.planning.earlier import is_known_to_differ
from rlottery.study.planning.finished_runs import collected_data, damage_of_run, replay_was_deleted

_SUMMARY_WORDS = {"to repeat": "to do", "mask made": "to do"}
"""States that the summary counts under another name."""


class State(NamedTuple):
    """The state of a run in a word or two, and details."""

    word: str
    details: str = ""


def status_table(config: Config) -> Group:
    """A line for each task, seed and arm: those of the config, and all others that the data folder has.

    The first line of a task is about its untrained policies, which are no run. Below the table are the runs that were
    made with other versions than others, those trained with other settings than the config's, how tasks deviate from
    what comparisons rely on, a summary, and what the masks of finished runs keep (`kept_by_masks`).
    """
    check_data_folder(config.data)
    store = Store(config.data)
    methods = [None] if config.arms else METHODS
    arms = [arm for method in methods for arm in arms_of(config, method)]
    listed = [arm.name for arm in arms]
    if not config.arms:
        # Which methods and controls of `pruning:` a study has, its folders say: those of any task and seed.
        begun = {arm for task in config.tasks for seed in config.seeds for arm in store.arms(task.name, seed)}
        listed = [arm for arm in listed if arm in begun]
        if not listed and any(
            _is_imported(store.run(task.name, seed, DENSE)) for task in config.tasks for seed in config.seeds
        ):
            listed = [arm.name for arm in arms_of(config, None)]  # of the method that a run has by default
    states: dict[Place, State] = {}
    of_untrained: dict[str, State] = {}
    submitted = open_runs(store)
    others: list[str] = []
    masks: list[Sentence | RunTable] = []
    for task in config.tasks:
        of_untrained[task.name] = _state_of_untrained(store.untrained(task.name), config.evaluation.untrained_policies)
        fingerprints = []
        made: list[MadeWith] = []
        finished: dict[str, list[Manifest]] = {}
        for seed in config.seeds:
            for arm in dict.fromkeys([DENSE, *listed, *store.arms(task.name, seed)]):
                files = store.run(task.name, seed, arm)
                allocation = submitted.get((task.name, seed, "" if arm == DENSE else arm))
                state, record = _look(files, allocation)
                if state.word == "done" and record is not None:
                    finished.setdefault(arm, []).append(cast(Manifest, record))
                states[task.name, seed, arm] = state
                fingerprints.append(record["fingerprint"] if record is not None else {})
                if record is not None:
                    made.append(made_with(seed, arm, record))
        others += change_lines(task.id, made)
        masks += kept_by_masks(task.name, finished)
        if message := other_settings_message(config, task, fingerprints):
            others.append(message)
    others += deviation_lines(read_trials(config))
    blocked = blocked_runs(config, arms, {place: state.word for place, state in states.items()})
    states |= {place: State("not run", why) for place, why in blocked.items()}
    return Group(
        Sentence(f"Study {config.name!r} in {config.data}", "italic"),
        StateTable(_lines(states, of_untrained)),
        *(Sentence(line, "yellow") for line in others),
        Sentence(_summary(states.values(), of_untrained.values())),
        *masks,
    )


def _lines(states: Mapping[Place, State], of_untrained: Mapping[str, State]) -> list[RunLine]:
    """A line for each run, after the line of its task's untrained policies."""
    lines = {task: [_line(task, NOTHING, "untrained", state)] for task, state in of_untrained.items()}
    for (task, seed, arm), state in states.items():
        lines[task].append(_line(task, str(seed), arm, state))
    return [line for of_task in lines.values() for line in of_task]


def _is_imported(files: RunFiles) -> bool:
    """Whether a run is an agent of another library, which is complete from the start."""
    found = _manifest_or_error(files)
    return files.imported.exists() or (found is not None and not isinstance(found, StudyError) and "imported" in found)


def kept_by_masks(task: str, finished: Mapping[str, Sequence[Manifest]]) -> list[Sentence | RunTable]:
    """A table of what the masks of a task's finished runs keep, means over seeds; nothing if none is known.

    Args:
        finished: arm -> manifests of its runs.
    """
    rows = []
    for arm, manifests in finished.items():
        for group in dict.fromkeys(group for manifest in manifests for group in manifest.get("effective", {})):
            sparsity = _mean(manifest.get("effective", {}).get(group) for manifest in manifests)
            units = [counts for manifest in manifests if (counts := manifest.get("units", {}).get(group))]
            used, of = _mean(used for used, _ in units), _mean(of for _, of in units)
            rank_one = _mean(manifest.get("rank_one", {}).get(group) for manifest in manifests)
            in_use = f"{used:,.0f} of {of:,.0f}" if used is not None and of else NOTHING
            rows.append((on_one_line(arm), on_one_line(group), _percent(sparsity), in_use, _percent(rank_one)))
    if not rows:
        return []
    title = f"Masks on {task}, means over seeds: effective sparsity, hidden units in use, rank-one share of the scores"
    headings = ("arm", "network", "effective", "units in use", "rank one")
    return [Sentence(on_one_line(title), "italic"), RunTable(headings, rows, headings[:2], ())]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _percent(share: float | None) -> str:
    return NOTHING if share is None else f"{100 * share:.1f} %"


def _line(task: str, seed: str, arm: str, state: State) -> RunLine:
    word, details = on_one_line(state.word), on_one_line(state.details)
    return RunLine(on_one_line(task), seed, on_one_line(arm), word, details)


def _summary(states: Iterable[State], of_untrained: Iterable[State]) -> str:
    """``3 of 6 runs done, 1 running, 2 to do. Untrained policies: 1 task to do.``

    Nothing about the untrained policies if those of all tasks are done.
    """
    counted = Counter(_SUMMARY_WORDS.get(state.word, state.word) for state in states)
    done, total = counted["done"], counted.total()
    others = [f"{number} {state}" for state, number in counted.items() if state != "done"]
    of_runs = ", ".join([f"{done} of {plural(total, 'run')} done", *others]) + "."
    untrained = Counter(state.word for state in of_untrained)
    tasks = [f"{plural(number, 'task')} {state}" for state, number in untrained.items() if state != "done"]
    return f"{of_runs} Untrained policies: {', '.join(tasks)}." if tasks else of_runs


def _manifest_or_error(files: RunFiles) -> Manifest | StudyError | None:
    """The manifest of a run, or why it can't be read; None if there is none."""
    try:
        return read_manifest(files)
    except StudyError as error:
        return error


def _manifest_or_checkpoint(files: RunFiles, found: Manifest | StudyError | None) -> Manifest | CheckpointRecord | None:
    """What there is of a run, finished or not. None if no file can be read.

    Args:
        found: as `_manifest_or_error` returns it.
    """
    if found is not None:
        return None if isinstance(found, StudyError) else found
    with contextlib.suppress(StudyError):
        if (continued := checkpoint_to_continue(files)) is not None:
            return continued.record
    return None


def _look(files: RunFiles, submitted: Open | None) -> tuple[State, Manifest | CheckpointRecord | None]:
    """The state of a run, and what there is of it.

    Args:
        submitted: the allocation on a cluster that is to do the run.
    """
    # The progress first: a run that ends meanwhile has a manifest.
    progress, place = _progress(files, is_remote=submitted is not None and submitted.began)
    found = _manifest_or_error(files)
    return _state(files, progress, place, found, submitted), _manifest_or_checkpoint(files, found)


def _state(
    files: RunFiles, progress: Progress | None, place: str, found: Manifest | StudyError | None, submitted: Open | None
) -> State:
    """The state of a run, from what `_look` has read."""
    if submitted is not None and found is None:
        if progress is None:
            return State("starting" if submitted.began else "queued", f"on the cluster as {submitted.name}")
        return State("running", f"{progress.env_steps:,} of {progress.total_steps:,} steps, as {submitted.name}")
    if progress is not None:
        done = f"{progress.env_steps:,} of {progress.total_steps:,} steps"
        if progress.phase is not None:
            return State("running", f"{progress.phase}, {done}{place}")
        left = "" if progress.seconds_left is None else f", {duration(progress.seconds_left)} left"
        return State("running", f"{done}{left}{place}")
    try:
        if isinstance(found, StudyError):
            raise found
        if trained_again := _trained_again(files, found):
            return trained_again
        return _unfinished_state(files) if found is None else _ended_state(files, found)
    except DamagedError as error:
        return _trained_again(files, None) or State("damaged", _damage_text(error, imported=files.imported.exists()))
    except StudyError as error:
        return State("damaged", str(error))


def _progress(files: RunFiles, *, is_remote: bool = False) -> tuple[Progress | None, str]:
    """The progress of a run that is being trained, and where, if that is another machine or a job of an engine.

    Args:
        is_remote: whether it is known to be another machine.
    """
    if not files.progress.exists():
        return None, ""
    holder = None
    with contextlib.suppress(StudyError, OSError):
        holder = holder_of(files)
    progress = read_progress(files.progress, is_remote=is_remote or (holder is not None and holder.is_elsewhere))
    said = holder is not None and (holder.is_elsewhere or holder.job)
    return progress, f", {holder.place}" if holder is not None and said else ""


def _state_of_untrained(files: UntrainedFiles, asked: int) -> State:
    """The state of a task's untrained policies."""
    progress, place = _progress(files)
    if progress is not None:
        return State("running", f"{progress.env_steps:,} of {progress.total_steps:,} policies{place}")
    try:
        if damaged := untrained_damage(files):
            return State("damaged", _damage_text(damaged[0]))
        found = read_untrained(files)
    except StudyError as error:
        return State("damaged", str(error))
    if found is not None and found.done >= asked:
        return State("done", "1 policy" if found.done == 1 else f"{found.done:,} policies")
    if found is not None and found.done:
        return State("interrupted", f"continues after {found.done:,} of {asked:,} when the study is run again")
    return State("to do")


def _trained_again(files: RunFiles, manifest: Manifest | None) -> State | None:
    """The state of a run that was trained again and waits aside. Its earlier result, if there is one, is kept."""
    with contextlib.suppress(StudyError):
        differs = is_known_to_differ(files)
        if differs:
            return State(
                "differs", "from its earlier result since it was trained again; `rlottery run` says what to do"
            )
        ended = manifest is not None and _ended_state(files, manifest).word in ("done", "diverged")
        if differs is not None and not ended:  # else a command was killed before it could delete the folder
            return State("trained again", "not compared yet with what there was; `rlottery run` does it")
    return None


def _damage_text(error: DamagedError, *, imported: bool = False) -> str:
    then = "import the agent again" if imported else "repeated when the study is run again"
    return f"{error.file.name}: {error.why}; {then}"


def _unfinished_state(files: RunFiles) -> State:
    """The state of a run without a manifest, whose worker is not running."""
    if files.imported.exists():
        return State("damaged", _damage_text(DamagedError(files.manifest, "it is missing"), imported=True))
    found = checkpoint_to_continue(files)
    if found is not None:
        return State("interrupted", f"continues from step {found.record['env_steps']:,} when the study is run again")
    if files.metrics.exists():
        return State("interrupted", "restarts when the study is run again")
    return State("mask made", "ticket not trained yet") if files.mask.exists() else State("to do")


def _ended_state(files: RunFiles, manifest: Manifest) -> State:
    """The state of a run with a manifest."""
    if manifest["status"] != "done":
        return State(manifest["status"], manifest.get("error", "").split("\n")[0])
    if replay_was_deleted(files, manifest) and "imported" not in manifest:
        data = collected_data(manifest["fingerprint"])
        return State("to repeat", f"its {data} {'were' if data.endswith('s') else 'was'} deleted")
    if damaged := damage_of_run(files, manifest, contents=()):
        return State("damaged", _damage_text(damaged[0], imported="imported" in manifest))
    sessions = len(manifest.get("sittings", []))
    suffix = f", in {sessions} sessions" if sessions > 1 else ""
    if (imported := manifest.get("imported")) is not None:
        start = "" if "initial" in imported else "; initial weights not known: tickets are fine-tuned"
        if "reconstructed" in imported:
            start = f"; initial weights from seed {imported['reconstructed']['seed']}"
        return State("done", f"imported from {imported['agent']['file']}, {imported['library']}{start}")
    return State("done", f"in {duration(manifest.get('seconds', 0.0))}{suffix}")
