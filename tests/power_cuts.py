"""Cuts the power at every operation of every stage, lets every write fail, and checks that nothing finished is lost.

uv run python -m tests.power_cuts
uv run python -m tests.power_cuts --parts states --repeats 10
uv run python -m tests.power_cuts --parts ext4 --cuts 20

states: each stage runs once in this process while a file layer (`tests.unsynced`) follows its files. Every state in
which a power cut may leave them, by four models of a file system, is checked: a run or mask that was finished stays
finished, with all of its checksums; a run never falls behind its last checkpoint; no file is half-written under its
final name; and the study can be planned again. From some states the study is finished, and compared byte by byte.

errors: an I/O error (EIO, ENOSPC, EROFS) at operations and writes of each stage, once or from then on. There must be
one message that names the file; what was finished stays so; and without errors, the stage ends in the same bits.

ext4: a study in an ext4 of its own, which is shut down without flushing its journal (FS_IOC_SHUTDOWN) at random moments
and just after a run was finished, again and again. Needs root and a loop device; else it is skipped.
"""

import argparse
import contextlib
import errno
import fcntl
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rlottery.config import Config, load_config
from rlottery.errors import DivergedError, RlotteryError, StoppedError
from rlottery.pruning.mask_file import read_mask
from rlottery.storage.checkpoint_record import checkpoint_damage, read_checkpoint_record, record_paths
from rlottery.storage.manifests import DamagedError, find_damage, read_manifest, read_sealed
from rlottery.storage.metrics_log import MetricsLog
from rlottery.storage.paths import RunFiles, Store
from rlottery.storage.study_record import note_command
from rlottery.storage.trial_record import Trial, write_trial
from rlottery.study.execution.endings import DISK_FULL, FAILED, ending_of
from rlottery.study.planning.finished_runs import expected_files, replay_was_deleted
from rlottery.study.planning.jobs import Job
from rlottery.study.planning.plan import JobState, Tracked, plan_study
from rlottery.study.run import _release_replay
from rlottery.study.stages.run_record import RunResult, record_run
from rlottery.study.verify import examine
from rlottery.training.checkpoints import Checkpoints
from tests.faults import digests
from tests.study.studies import TINY
from tests.unsynced import MODELS, Layer, Moment, State, states_left, strict_state, visible_state, write_state

STUDY = TINY.replace("[Pendulum-v1]", "[{id: Pendulum-v1, kwargs: {max_episode_steps: 90}}]")
"""Episodes so short that a run has several checkpoints."""
ARMS = (
    "arms=[{name: magnitude, criterion: magnitude, sparsity: 0.8}, "
    "{name: set, schedule: {set: {interval: 50}}, sparsity: 0.8}, "
    "{name: late, criterion: magnitude, sparsity: 0.8, rewind: {step: 130}}]"
)
ERRORS = (errno.EIO, errno.ENOSPC, errno.EROFS)
TORN = (".log", ".jsonl", "progress.json", ".lock")
"""Files that may be half-written: logs, and what checkpoints and manifests have a checksum of."""

Rank = tuple[int, ...]
"""How far something has come, to be compared: a finished run is (1, rewind points), an unfinished one (0, step)."""


@dataclass(frozen=True)
class Stage:
    """A stage: what it is called, and what does it with the data in a folder.

    Attributes:
        ends: how it may end, other than well.
        prepare: what happens to the data before it.
    """

    name: str
    work: Callable[[Path], object]
    ends: tuple[type[Exception], ...] = ()
    prepare: Callable[[Path], object] = lambda data: None

    def do(self, data: Path) -> None:
        with contextlib.suppress(*self.ends):
            self.work(data)


def stages(
    *, methods: Sequence[str] = ("magnitude", "gradient"), arms: bool = True, report: bool = True
) -> list[Stage]:
    """All stages of a small study, in order. Each needs what the ones before it have left.

    Args:
        arms: also masks that change, a rewind stage, and a dense agent that is trained again.
        report: also the report.
    """
    found = [
        Stage("records", _write_records),
        Stage("failed", lambda data: _record(data, 8, _fails), (ValueError,)),
        Stage("diverged", lambda data: _record(data, 9, _diverges), (DivergedError,)),
        Stage("stopped", lambda data: _run(_job(data, "dense"), stop=lambda: True), (StoppedError,)),
        Stage("dense", lambda data: _run(_job(data, "dense"))),
    ]
    for method in methods:
        found.append(Stage(f"mask {method}", lambda data, method=method: _run(_job(data, "mask", method))))
    found.append(Stage("ticket", lambda data: _run(_job(data, "ticket", "magnitude"))))
    if arms:
        found += [
            Stage("rewind", lambda data: _run(_job(data, "rewind", arms=ARMS))),
            Stage("mask late", lambda data: _run(_job(data, "mask", arms=ARMS, arm="late"))),
            Stage("ticket late", lambda data: _run(_job(data, "ticket", arms=ARMS, arm="late"))),
            Stage("masks that change", lambda data: _run(_job(data, "ticket", arms=ARMS, arm="set"))),
            Stage("dense again", lambda data: _run(_job(data, "dense")), prepare=_damage),
        ]
    found.append(Stage("release", _release))
    if report:
        found.append(Stage("report", _report))
    return found


@dataclass
class Counts:
    """What was seen of one stage.

    Attributes:
        states: how many that differ from all others, by the model that was the first to have them.
        wrong: by model, a line for each moment and state in which something is lost or wrong; and for each claim.
        left: the states, to go on from.
    """

    operations: int = 0
    states: Counter[str] = field(default_factory=Counter)
    wrong: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    left: list[State] = field(default_factory=list)

    @property
    def complaints(self) -> list[str]:
        return [line for lines in self.wrong.values() for line in lines]


def cut_everywhere(
    stage: Stage, data: Path, models: tuple[str, ...] = MODELS, check: Callable[[State], str] = lambda state: ""
) -> Counts:
    """Do a stage once, and check every state in which a power cut during it may leave the data.

    Args:
        check: says what else is wrong with a state, or "".
    """
    stage.prepare(data)
    with Layer(data) as layer, _claiming(layer):
        stage.do(data)
    moments, ranks = layer.moments, Ranks()
    counts = Counts(sum(not moment.claim for moment in moments))
    held: list[dict[str, Rank]] = []
    for moment in moments:
        found, _ = ranks.of(strict_state(moment))
        before = held[-1] if held else {}
        held.append({name: max(before.get(name, ()), found.get(name, ())) for name in before.keys() | found.keys()})
        if moment.claim:
            for name, rank in ranks.of(visible_state(moment))[0].items():
                if found.get(name, ()) < rank:
                    counts.wrong["claim"].append(
                        f"{stage.name}: {moment.claim}: only {found.get(name)} of {name} {rank}"
                    )
    whole, seen = _whole_contents(moments), set()
    for index, model, state in states_left(moments, models):
        found, why = ranks.of(state)
        wrong = [f"{n} fell from {r} to {found.get(n)}" for n, r in held[index].items() if found.get(n, ()) < r]
        if (key := frozenset(state.items())) not in seen:
            seen.add(key)
            counts.states[model] += 1
            counts.left.append(state)
            wrong += [f"{path} is half-written" for path in state if not _is_whole(path, state[path], whole)]
            wrong += [line for line in (why, check(state)) if line]
        if wrong:
            line = f"{stage.name}: before {moments[index].operation}: {'; '.join(wrong)}"
            counts.wrong[model].append(line)
    return counts


class Ranks:
    """How far each run, mask and record has come in a state. What was found is kept: most states share most parts."""

    def __init__(self) -> None:
        self._known: dict[frozenset[Any], tuple[Rank, str]] = {}

    def of(self, state: State) -> tuple[dict[str, Rank], str]:
        """The ranks, and what raised an error that reading a damaged study must not raise, or ""."""
        found: dict[str, Rank] = {}
        reasons = []
        for unit, part in _units(state).items():
            key = frozenset(part.items())
            if key not in self._known:
                with scratch() as folder:
                    write_state(part, folder)
                    self._known[key] = _rank(folder / unit)
            found[unit], why = self._known[key]
            reasons += [f"reading {unit} raises {why}"] if why else []
        return found, "; ".join(reasons)


def _units(state: State) -> dict[str, State]:
    """The parts of a state that are judged each for itself, with the folders above: runs, masks, trials, the record."""
    found: dict[str, State] = {}
    for path, content in state.items():
        parts = path.split("/")
        is_run = parts[0] == "runs" and len(parts) > 3
        if is_run and "mask.pkl" not in parts:
            found.setdefault("/".join(parts[:4]), {})[path] = content
            continue
        judged = path.endswith(("mask.pkl", "study.json")) or parts[0] in ("masks", "trials")
        if content is not None and judged and ".partial-" not in path:
            found[path] = {path: content}
    return found


def _rank(path: Path) -> tuple[Rank, str]:
    try:
        if path.suffix == ".pkl":
            return _mask_rank(path), ""
        return (_record_rank(path) if path.suffix == ".json" else _run_rank(RunFiles(path))), ""
    except Exception as error:
        return (), f"{type(error).__name__}: {error}"


def _run_rank(run: RunFiles) -> Rank:
    with contextlib.suppress(DamagedError):
        manifest = read_manifest(run)
        ended = manifest is not None and manifest["status"] != "failed"
        if manifest is not None and ended and not replay_was_deleted(run, manifest):
            entries = expected_files(run, manifest)
            # The mask is judged for itself.
            if not find_damage(run.folder, {name: entry for name, entry in entries.items() if name != "mask.pkl"}):
                return (1, sum(name.startswith("rewind") for name in entries))
    steps = [-1]
    for path in record_paths(run):
        with contextlib.suppress(DamagedError):
            record = read_checkpoint_record(path)
            steps += [] if checkpoint_damage(run, record) else [record["env_steps"]]
    return (0, max(steps))


def _mask_rank(path: Path) -> Rank:
    try:
        read_mask(path)
    except RlotteryError:
        return (0,)
    return (1,)


def _record_rank(path: Path) -> Rank:
    try:
        return (len(read_sealed(path).get("commands", "1")),)
    except DamagedError:
        return (0,)


def _whole_contents(moments: Sequence[Moment]) -> dict[str, set[bytes]]:
    """What was visible under each path at any moment."""
    found: dict[str, set[bytes]] = {}
    for moment in moments:
        for path, content in visible_state(moment).items():
            if content is not None:
                found.setdefault(path, set()).add(content)
    return found


def _is_whole(path: str, content: bytes | None, whole: dict[str, set[bytes]]) -> bool:
    parts = path.split("/")
    may_be_torn = path.endswith(TORN) or "tensorboard" in parts or any(".partial-" in part for part in parts)
    return content is None or may_be_torn or content in whole.get(path, ())


def plan_again(state: State) -> str:
    """What is wrong with a state for planning the study again or `rlottery verify`, or ""."""
    with scratch() as folder:
        write_state(state, folder)
        try:
            plan(folder)
            examine(config_of(folder))
        except Exception as error:
            return f"planning or checking it raises {type(error).__name__}: {error}"
    return ""


def plan(data: Path) -> list[Tracked]:
    """The jobs of the study, with what is done."""
    jobs = plan_study(config_of(data), "magnitude", ("dense", "mask", "ticket"))
    more = plan_study(config_of(data), "gradient", ("dense", "mask"))
    return [*jobs, *(item for item in more if item.job.stage == "mask")]


def finish(data: Path) -> dict[str, str]:
    """Run what is left of the study's own runs here, and delete all others. Returns digests of their files."""
    planned = plan(data)
    for folder in set(data.glob("runs/*/*/*")) - {item.job.files.folder for item in planned}:
        shutil.rmtree(folder)
    for item in planned:
        if item.state is JobState.WAITING:
            _run(item.job)
    return digests(data)


def fail_somewhere(
    stage: Stage, before: Path, expected: dict[str, str], tries: int | None, chance: random.Random
) -> tuple[int, list[str]]:
    """Do a stage with an I/O error at some of its operations (None: at each), from the data in `before`.

    Returns how often that was tried, and what was wrong.
    """
    operations: list[str] = []
    stage.prepare(before)
    with copied(before) as data, Layer(data, operations.append, records=False):
        stage.do(data)
    wrong = []
    places = (
        range(len(operations)) if tries is None else chance.sample(range(len(operations)), min(tries, len(operations)))
    )
    for number, place in enumerate(sorted(places)):
        code = ERRORS[number % len(ERRORS)] if tries is None else chance.choice(ERRORS)
        lasts = code == errno.EROFS or (code != errno.EIO and bool(number % 2))
        with copied(before) as data:
            where = f"{stage.name}: {errno.errorcode[code]} {'from' if lasts else 'at'} {operations[place]}"
            wrong += [f"{where}: {line}" for line in _with_fault(stage, data, Fault(place, code, lasts), expected)]
    return len(places), wrong


@dataclass
class Fault:
    """Raises an error at one operation, or from it on."""

    place: int
    code: int
    lasts: bool
    seen: int = -1

    def __call__(self, operation: str) -> None:
        self.seen += 1
        if self.seen == self.place or (self.lasts and self.seen > self.place):
            raise OSError(self.code, os.strerror(self.code))


def _with_fault(stage: Stage, data: Path, fault: Fault, expected: dict[str, str]) -> Iterator[str]:
    """What is wrong with how a stage takes a fault, and with the files after a second try without one."""
    before, _ = Ranks().of(_state_of(data))
    try:
        with Layer(data, fault, records=False):
            stage.work(data)
    except stage.ends:
        pass
    except Exception as error:
        ending, reason = ending_of(error), os.strerror(fault.code)
        if reason not in str(error):
            yield f"the message does not say {reason!r}: {error!r}"
        elif fault.code == errno.ENOSPC and stage.name not in OUTSIDE_WORKERS and ending.code != DISK_FULL:
            yield f"a full disk is not known as one: {error!r}"
        elif fault.code != errno.ENOSPC and stage.name not in OUTSIDE_WORKERS and not isinstance(error, RlotteryError):
            yield f"no message for the user: {ending}"
        assert ending.code in (DISK_FULL, FAILED)
    after, why = Ranks().of(_state_of(data))
    yield from (
        f"{name} fell from {rank} to {after.get(name)}" for name, rank in before.items() if after.get(name, ()) < rank
    )
    if why:
        yield why
    stage.do(data)
    # Checkpoints that a finished run could not remove are removed by the command.
    found = {path: digest for path, digest in digests(data).items() if "/checkpoint/" not in path}
    if found != expected:
        yield f"other bits: {sorted(set(found.items()) ^ set(expected.items()))[:2]}"


OUTSIDE_WORKERS = ("records", "failed", "diverged", "release", "report")
"""What isn't done by `run_stage` here, so that others say what to do about the error."""


def config_of(data: Path, *overrides: str) -> Config:
    """The study's config, for data in a folder. Each run saves a checkpoint after each episode."""
    path = data.parent / f"{data.name}.yaml"
    lists_arms = any(override.startswith("arms=") for override in overrides)
    path.write_text("".join(line for line in STUDY.splitlines(True) if not (lists_arms and line.startswith("pruning"))))
    return load_config(path, [f"data={data}", "checkpoint_seconds=0", *overrides])


def _job(data: Path, stage: str, method: str | None = None, *, seed: int = 0, arms: str = "", arm: str = "") -> Job:
    """A job of the study: of the arms' config if there is one, else of the two built-in methods'."""
    from rlottery.study.planning.arms import arms_of, built_in_arms

    config = config_of(data, f"seeds=[{seed}]", *filter(None, [arms]))
    if arm:
        return Job(config, stage, 0, seed, next(a for a in arms_of(config, None) if a.name == arm))
    return Job(config, stage, 0, seed, built_in_arms(method, config.pruning)[0] if method else None)


def _run(job: Job, stop: Callable[[], bool] = lambda: False) -> None:
    from rlottery.study.stages.run_stage import run_stage

    with warnings.catch_warnings(), Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        warnings.simplefilter("ignore")
        run_stage(job, stop)


def _write_records(data: Path) -> None:
    config = config_of(data)
    note_command(config, has_work=True)
    note_command(config, has_work=True)
    trial = Trial({"max_episode_steps": 90}, 3, 1, None, 90, True, 1.0, {}, [], "", {}, {})
    write_trial(Store(data), config.tasks[0], trial)


def _record(data: Path, seed: int, work: Callable[[Checkpoints], RunResult]) -> None:
    dense = _job(data, "dense", seed=seed)
    record_run(dense, dense.files, {}, {}, work)


def _begin(checkpoints: Checkpoints, work: str) -> None:
    files = checkpoints._files
    with MetricsLog(files.metrics, files.tensorboard) as log:
        log.write({"kind": "evaluation", "env_steps": 0, "return": 1.0, "by": work})


def _fails(checkpoints: Checkpoints) -> RunResult:
    _begin(checkpoints, "failed")
    raise ValueError("as an environment does")


def _diverges(checkpoints: Checkpoints) -> RunResult:
    _begin(checkpoints, "diverged")
    raise DivergedError("Not finite.", {"data.rewards": np.full(3, np.nan, np.float32)})


def _damage(data: Path) -> None:
    """Damage a file of the dense agent, which then is trained again. All its other files are there."""
    os.truncate(_job(data, "dense").files.agent, 100)


def _release(data: Path) -> None:
    dense = _job(data, "dense")
    _release_replay([Tracked(dense, JobState.DONE)])


def _report(data: Path) -> None:
    from rlottery.report.collect import collect
    from rlottery.report.files import write_report

    store = Store(data)
    write_report(store.report, collect(store, config_of(data)))


@contextlib.contextmanager
def _claiming(layer: Layer) -> Iterator[None]:
    """Let `layer` know that a checkpoint is complete, or a stage: from then on it has to be durable."""
    save = Checkpoints.save

    def save_and_claim(checkpoints: Checkpoints, *arguments: Any) -> None:
        save(checkpoints, *arguments)
        layer.claim("a checkpoint was saved")

    Checkpoints.save = save_and_claim  # type: ignore[method-assign]
    try:
        yield
        layer.claim("the stage has ended")
    finally:
        Checkpoints.save = save  # type: ignore[method-assign]


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """An empty folder, in memory if there is one."""
    with tempfile.TemporaryDirectory(prefix="power-cuts-", dir=MEMORY) as folder:
        yield Path(folder).resolve()


MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@contextlib.contextmanager
def copied(data: Path) -> Iterator[Path]:
    """A copy of a data folder."""
    with scratch() as folder:
        shutil.copytree(data, folder / "data")
        yield folder / "data"


def _state_of(data: Path) -> State:
    return {
        str(path.relative_to(data)): None if path.is_dir() else path.read_bytes() for path in sorted(data.rglob("*"))
    }


def cut_states(repeats: int, chance: random.Random) -> bool:
    """The part `states`. Prints what was seen, and returns whether all is well."""
    sound = True
    with scratch() as folder:
        expected = finish(folder / "undisturbed")
        data = folder / "data"
        data.mkdir()
        total: Counter[str] = Counter()
        for stage in stages():
            counts = cut_everywhere(stage, data, check=plan_again)
            total += counts.states + Counter({"operations": counts.operations})
            wrong = {model: len(lines) for model, lines in counts.wrong.items()}
            print(
                f"  {stage.name}: {counts.operations} operations, states {dict(counts.states)}, wrong {wrong}",
                flush=True,
            )
            for line in counts.complaints[:5]:
                print(f"    {line[:300]}")
            sound &= not wrong
            for state in chance.sample(counts.left, min(repeats, len(counts.left))):
                with scratch() as left:
                    (left / "data").mkdir()
                    write_state(state, left / "data")
                    found = finish(left / "data")
                    kept = [
                        p
                        for p in expected
                        if p in found or "replay" not in p or stage.name not in ("release", "report")
                    ]
                    if differing := [path for path in kept if found.get(path) != expected[path]]:
                        sound = False
                        print(f"    {stage.name}: other bits after a cut: {differing[:3]}")
                    total["finished again"] += 1
    print(f"  {dict(total)}", flush=True)
    return sound


def fail_everywhere(tries: int | None, chance: random.Random) -> bool:
    """The part `errors`. Prints what was seen, and returns whether all is well."""
    total, sound = 0, True
    with scratch() as folder:
        data = folder / "data"
        data.mkdir()
        for stage in stages():
            with copied(data) as before:
                stage.prepare(data)
                stage.do(data)
                if stage.name in ("stopped", "report"):  # its bits depend on how often it is done; has its own words
                    continue
                tried, wrong = fail_somewhere(stage, before, digests(data), tries, chance)
            total, sound = total + tried, sound and not wrong
            print(f"  {stage.name}: {tried} faults, {len(wrong)} wrong", flush=True)
            for line in wrong[:5]:
                print(f"    {line[:400]}")
    print(f"  {total} faults", flush=True)
    return sound


SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2
"""FS_IOC_SHUTDOWN of Linux: ends a file system at once. The flag drops what its journal holds only in memory."""


def cut_ext4(cuts: int, chance: random.Random) -> bool:
    """The part `ext4`. Prints what was seen, and returns whether all is well."""
    with tempfile.TemporaryDirectory(prefix="power-cuts-") as name:
        folder = Path(name)
        image, mount = folder / "image", folder / "mount"
        mount.mkdir()
        with image.open("wb") as file:
            file.truncate(2**28)
        for command in (["mkfs.ext4", "-q", str(image)], ["mount", "-o", "loop", str(image), str(mount)]):
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=False)
            except FileNotFoundError:
                print(f"  Skipped: this machine has no {command[0]}.")
                return True
            if done.returncode:
                print(f"  Skipped: {' '.join(command)}: {done.stderr.strip()} (root and a loop device are needed)")
                return True
        try:
            return _cut_ext4(folder, image, mount, cuts, chance)
        finally:
            subprocess.run(["umount", "-l", str(mount)], capture_output=True, check=False)


def _cut_ext4(folder: Path, image: Path, mount: Path, cuts: int, chance: random.Random) -> bool:
    from tests import faults

    config = STUDY.replace("seeds: [0]", "seeds: [0, 1]").replace("env_steps: 300", "env_steps: 900")
    undisturbed = faults.make_study(folder / "undisturbed", config)
    command = ("--pruning-method", "magnitude", "checkpoint_seconds=0.5")
    assert faults.start(undisturbed, *command).wait() == 0, (undisturbed / "command.log").read_text()
    expected = digests(undisturbed / "data")
    kinds: Counter[str] = Counter()
    wrong: list[str] = []
    study = faults.make_study(folder / "study", config)
    while kinds.total() < cuts:
        process = faults.start(study, *command, f"data={mount / 'data'}")
        kind, began = chance.choice(("at a random moment", "just after a run")), time.monotonic()
        before = _finished(mount / "data")
        latest = chance.uniform(2.0, 14.0)
        while process.poll() is None:
            if kind == "at a random moment" and time.monotonic() - began > latest:
                break
            if kind == "just after a run" and _finished(mount / "data") > before:
                time.sleep(chance.choice((0.0, 0.05, 0.5)))
                break
            time.sleep(0.005)
        finished, over = _finished(mount / "data"), process.poll() is not None
        _shut_down(mount)
        faults.kill(process, "all")
        process.wait()
        _remount(image, mount)
        kinds[kind] += 1
        found, why = Ranks().of(_state_of(mount / "data"))
        lost = [run for run in finished if found.get(run, (0,))[0] != 1]
        if lost or why:
            wrong.append(f"cut {kinds.total()} {kind}: lost {lost} {why}")
            print(f"  {wrong[-1]}", flush=True)
        if over:  # the study is over: what it has is compared, and another one begins
            assert faults.start(study, *command, f"data={mount / 'data'}").wait() == 0
            if digests(mount / "data") != expected:
                wrong.append("other bits")
            shutil.rmtree(mount / "data")
            kinds["studies compared"] += 0
    assert faults.start(study, *command, f"data={mount / 'data'}").wait() == 0, (study / "command.log").read_text()
    if digests(mount / "data") != expected:
        wrong.append("other bits")
        print("  other bits at the end")
    print(f"  {dict(kinds)} cuts, {len(wrong)} wrong", flush=True)
    return not wrong


def _finished(data: Path) -> set[str]:
    """The runs of which the manifest is there and the checkpoints are gone."""
    return {
        str(path.parent.relative_to(data))
        for path in data.glob("runs/*/*/*/manifest.json")
        if not (path.parent / "checkpoint").exists()
    }


def _shut_down(mount: Path) -> None:
    folder = os.open(mount, os.O_RDONLY)
    try:
        fcntl.ioctl(folder, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
    finally:
        os.close(folder)


def _remount(image: Path, mount: Path) -> None:
    for _ in range(100):  # workers may still be ending
        if subprocess.run(["umount", str(mount)], capture_output=True, check=False).returncode == 0:
            break
        time.sleep(0.1)
    subprocess.run(["mount", "-o", "loop", str(image), str(mount)], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("states", "errors", "ext4")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--repeats", type=int, default=3, help="states of each stage from which the study is finished")
    parser.add_argument("--errors", type=int, help="I/O errors in each stage (default: one at each operation)")
    parser.add_argument("--cuts", type=int, default=20, help="of the ext4's power")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chance, sound = random.Random(given.seed), True
    for part in given.parts:
        print(f"{part}:", flush=True)
        if part == "states":
            sound &= cut_states(given.repeats, chance)
        elif part == "errors":
            sound &= fail_everywhere(given.errors, chance)
        else:
            sound &= cut_ext4(given.cuts, chance)
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
