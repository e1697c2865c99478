"""Changed files of a study, read by everything that reads studies: each is read, or refused with a message.

    uv run python -m tests.mutations --count 5000 --seed 1
    uv run python -m tests.mutations --only 1234 --seed 1        # one of them again, with its traceback

A small finished study of two seeds, with an unfinished run, is changed in one file and read, and the file is restored.
JSON is changed in its structure: types, extremes, missing and double keys, nesting, text that no terminal shows; and
sealed again, as somebody would who knows how checksums are computed. Headers of arrays and rows of metrics are changed
in the same way. All other files are changed byte by byte, most of the time with a manifest that agrees.

A change to one run's files must not keep `status`, `verify`, reports, comparisons or `load_study` from showing other
runs: they raise nothing. Everything else may raise a RlotteryError. `tests.fuzz_masks` tries masks in greater depth.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tarfile
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import rlottery
from rlottery.analysis.stability import Stability, read_stability, write_stability
from rlottery.config import Config
from rlottery.errors import RlotteryError
from rlottery.export.finished_run import read_actor, read_finished
from rlottery.pruning.mask_file import read_mask
from rlottery.report import page
from rlottery.report.arm_styles import looks
from rlottery.report.closing import Closing
from rlottery.report.collect import collect
from rlottery.report.contents import Contents
from rlottery.report.files import write_report
from rlottery.report.study_comparison import compare_contents, render_comparison
from rlottery.report.summary import summarise
from rlottery.storage.checkpoint_record import newest_checkpoint, read_checkpoint_record, record_path
from rlottery.storage.disk import file_digest, read_arrays, write_json
from rlottery.storage.locks import holder_of
from rlottery.storage.manifests import _checksum, write_sealed
from rlottery.storage.open_study import config_from_study
from rlottery.storage.paths import RunFiles, Store
from rlottery.storage.study_record import note_command
from rlottery.storage.trial_record import Trial, write_trial
from rlottery.study.planning.jobs import STAGES
from rlottery.study.planning.plan import plan_study
from rlottery.study.status import status_table
from rlottery.study.verify import examine
from rlottery.training.replay_buffer import load_replay
from tests.study.studies import shown, write_untrained
from tests.test_earlier_studies import ARCHIVE

ARMS = ("magnitude", "taylor", "imp", "rigl")
TASK = "Pendulum-v1"
MOST_SECONDS = 30
"""Time for all readers of one change. Anything slower counts as a hang."""


class HangError(BaseException):
    """Something waits. No Exception, which readers may catch."""


@dataclass(frozen=True)
class Study:
    """A study to change: its data folder, its settings, and what commands say about it when nothing is changed."""

    root: Path
    config: Config
    told: str
    contents: Any

    @property
    def store(self) -> Store:
        return Store(self.root)

    def run(self, seed: int, arm: str) -> RunFiles:
        return self.store.run(TASK, seed, arm)


# ------------------------------------------------------------------------------------------- The study


def make_study(folder: Path) -> Study:
    """Part of the study that an earlier version made, with a second seed, and with files of every other kind."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    root = folder / "data"
    seeds = root / "runs" / TASK
    for path in (seeds / "seed_0").iterdir():
        if path.name.partition(".")[0] not in ("dense", *ARMS):
            shutil.rmtree(path)
    for arm in ("dense", "magnitude", "rigl"):
        shutil.copytree(seeds / "seed_0" / arm, seeds / "seed_1" / arm)
    for manifest in (seeds / "seed_1").rglob("manifest.json"):
        content = json.loads(manifest.read_text())
        content["seed"] = content["fingerprint"]["seed"] = 1
        manifest.write_bytes(sealed(content))
    record = json.loads((root / "study.json").read_text())
    record["config"] |= {
        "seeds": [0, 1],
        "arms": [arm for arm in record["config"]["arms"] if arm["name"] in ARMS],
        "data": str(root),
    }
    (root / "study.json").write_bytes(sealed(record))
    config = config_from_study(root)
    store = Store(root)
    mask = read_mask(store.run(TASK, 0, "taylor").mask)
    write_stability(store.run(TASK, 0, "taylor"), Stability(mask.metadata["digest"], 3, 0.8, 0.2))
    shutil.copy(store.run(TASK, 0, "magnitude").mask, _parent(store.mask(TASK, 0, "magnitude")))
    packages, sources = {"gymnasium": "1.4.0"}, {"my_task": "0" * 64}
    trial = Trial({}, 3, 1, None, 200, False, 9e3, {"carryover": "it does"}, ["slow"], "", packages, sources)
    write_trial(store, config.tasks[0], trial)
    policies = [-1000.0 - policy for policy in range(config.evaluation.untrained_policies)]
    write_untrained(config, *policies)
    _interrupt(store.run(TASK, 1, "rigl"))
    holder = {"pid": os.getpid(), "parent": 1, "host": "here", "since": 1.7e9}
    write_json(_parent(store.run(TASK, 1, "rigl").lock), holder)
    note_command(config, has_work=True)
    told, contents = told_about(study := Study(root, config, "", None))
    return replace(study, told=told, contents=contents)


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _interrupt(run: RunFiles) -> None:
    """Make a finished run one that was interrupted: with a checkpoint, and with the progress of a living process."""
    manifest = json.loads(run.manifest.read_text())
    run.manifest.unlink()
    bits = np.random.default_rng(0).bit_generator.state
    content = {key: manifest[key] for key in ("format_version", "fingerprint", "sittings")}
    content |= {"env_steps": 200, "episodes": 1, "files": {}, "segments": [[0, 200]], "seconds": 2.0, "written": 1}
    content |= {
        "generators": {"minibatches": bits, "exploration": bits},
        "losses": {"sums": {"critic_loss": 1.5}, "updates": 3, "last": {"critic_loss": 0.5}, "seconds": 0.1},
        "episode": {"ended": {"return": -5.0}, "episodes": 1, "wrote_at": 100},
        "cost": 0.1,
        "metrics": [run.metrics.stat().st_size, file_digest(run.metrics)],
        "points": {"mask.pkl": manifest["files"]["mask.pkl"]},
    }
    write_sealed(record_path(run, 200), content)
    progress = {"pid": os.getpid(), "env_steps": 10, "total_steps": 250, "steps_per_second": 3.5, "last_return": -9.0}
    write_json(run.progress, progress)


# ------------------------------------------------------------------------------------------- The readers


def told_about(study: Study) -> tuple[str, Contents]:
    """What `status`, `verify` and a report say about a study, and the contents of that report."""
    status = shown(status_table(study.config))
    wrong = [f"{problem.file} {problem.why}" for problem in examine(study.config).problems]
    contents = collect(study.store, study.config)
    return "\n".join([status, *wrong, *contents.missing]), contents


def read_all(study: Study, changed: Path, *, shows: bool = True, figures: bool = False) -> str:
    """Read the study with everything that reads. Returns whether something "refused" the change, or all "read" it.

    Args:
        shows: whether to make pages and tables also where a change was refused: then they have less to show.
        figures: whether to draw the figures of the page.
    """
    refusals: list[str] = []

    def may_refuse(read: Callable[[], object]) -> None:
        try:
            read()
        except RlotteryError as error:
            assert str(error).strip()
            refusals.append(str(error))

    store, config = study.store, study.config
    told, contents = told_about(study)
    if changed == store.record:
        may_refuse(lambda: rlottery.load_study(study.root))
        with suppress(OSError):  # its callers say that it can't be written
            may_refuse(lambda: note_command(config, has_work=False))
    if changed.suffix == ".pkl":
        may_refuse(lambda: read_mask(changed))
    if changed.suffix == ".safetensors":
        may_refuse(lambda: read_arrays(changed))
    if changed.suffix == ".npy":
        may_refuse(lambda: load_replay(changed.parent))
    if changed.parent.name == "checkpoint":
        may_refuse(lambda: read_checkpoint_record(changed))
        newest_checkpoint(RunFiles(changed.parent.parent))
    if changed.is_relative_to(store.runs) and changed.parent.name != "checkpoint":
        run = RunFiles(changed.parent.parent if changed.suffix == ".npy" else changed.parent)
        may_refuse(lambda: read_actor(read_finished(run.folder)))
        may_refuse(lambda: read_stability(run, read_mask(run.mask).metadata["digest"]))
        may_refuse(lambda: str(holder_of(run)))
    was_read = told == study.told and not refusals
    if was_read or shows:
        _show(study, contents, figures)
        may_refuse(lambda: plan_study(config, None, STAGES))
        if changed != store.record:
            rlottery.load_study(study.root)
    return "read" if was_read else "refused"


def _show(study: Study, contents: Contents, figures: bool) -> None:
    shown(Closing(summarise(contents)))
    shown(render_comparison(compare_contents([study.contents, contents])))
    if figures:
        with tempfile.TemporaryDirectory() as folder:
            write_report(Path(folder), contents)
        return
    none: dict[str, list[Any]] = {"sparsity": [], "curves": [], "across": [], "masks": []}
    page._html(contents, none, page._tables(contents, looks(contents.scores))).encode()


# ------------------------------------------------------------------------------------------- The changes

# Text that JSON's writer doesn't write, in place of the string that stands for it.
RAW = {
    f"@raw{index}@": text
    for index, text in enumerate(
        ("1e999", "-1e999", "NaN", "Infinity", "9" * 5_000, "1" + "0" * 400, "-0", "1e300", "-1e300", "5e-324")
    )
}
EXTREMES: list[Any] = [
    *(None, True, False, -1, 0, 1, 2, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63), 10**300, 0.5, -0.5, 1e300, 1e17),
    *("", "0", "dense", "none", "done", "\ud800", "\x1b[2J", "a\nb", "\0", "$x_$", "=1+1", "../../x", "é" * 400),
    *("x" * 100_000, "\u202e", "<b>", "{0}", "%s", "[bold]", "NaN"),
    *(
        [],
        {},
        [[]],
        [1],
        ["x"],
        {"x": 1},
        {"step": -1},
        {"step": 1e300},
        {"step": None},
        {"": ""},
        {"\ud800": "\ud800"},
    ),
    *([[]] * 3_000, {f"k{index}": index for index in range(3_000)}),
    *RAW,
]


def sealed(content: Any) -> bytes:
    """A JSON file's content with the checksum that belongs to it, if it is an object that has one."""
    if isinstance(content, dict) and "checksum" in content:
        del content["checksum"]
        with suppress(ValueError, RecursionError):
            text = json.dumps(content)
            for token, raw in RAW.items():
                text = text.replace(f'"{token}"', raw)
            content["checksum"] = _checksum_of(text)
    text = json.dumps(content)
    for token, raw in RAW.items():
        text = text.replace(f'"{token}"', raw)
    return text.encode()


def _checksum_of(text: str) -> str:
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        with suppress(ValueError):
            return _checksum(json.loads(text))
    finally:
        sys.set_int_max_str_digits(limit)
    return ""


def change_json(content: Any, rng: random.Random) -> Any:
    """The content with one to three places changed."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(content))
        if not places or rng.random() < 0.02:
            return rng.choice(EXTREMES)
        # Half of them from the top down: most places are settings, whose changes are all found in the same way.
        owner, key = rng.choice(places)
        if rng.random() < 0.5:
            owner, key = content, rng.choice([key for owner, key in places if owner is content])
            while isinstance(owner[key], dict | list) and owner[key] and rng.random() < 0.5:
                owner = owner[key]
                key = rng.choice(list(owner) if isinstance(owner, dict) else range(len(owner)))
        value = owner[key]
        if rng.random() < 0.05:
            owner[key] = _nested(value, rng)
            return content  # too deep for further changes
        match rng.randrange(9):
            case 0 if isinstance(owner, dict):
                del owner[key]
            case 1 if isinstance(owner, dict):
                owner[f"{key}{rng.choice(('', '_', '.', chr(0xD800)))}x"] = owner.pop(key)
            case 2:
                owner[key] = rng.choice(([value], {"x": value}, [value] * 50, str(value), [value, [value]]))
            case 3:
                other, place = rng.choice(places)
                owner[key] = json.loads(json.dumps(other[place])) if place in other or isinstance(other, list) else 0
            case 4 if isinstance(value, int | float):
                owner[key] = rng.choice((-value, value * 10**9, value + 0.5, str(value), value * 2))
            case _:
                owner[key] = json.loads(json.dumps(rng.choice(EXTREMES)))
    return content


def _nested(value: Any, rng: random.Random) -> Any:
    for _ in range(rng.choice((3, 30, 63, 70, 400))):
        value = [value] if rng.random() < 0.5 else {"d": value}
    return value


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    waiting = [content]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict | list):
            for key in list(node) if isinstance(node, dict) else range(len(node)):
                yield node, key
                waiting.append(node[key])


def change_bytes(data: bytes, rng: random.Random) -> bytes:
    """The content with bytes changed, cut, doubled or replaced."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at, other = (rng.randrange(len(changed) + 1) for _ in range(2))
        match rng.randrange(8):
            case 0:
                del changed[at:]
            case 1:
                del changed[at : at + rng.choice((1, 4, 100))]
            case 2:
                changed[at:at] = changed[other : other + rng.choice((1, 8, 300))]
            case 3:
                changed[at:at] = rng.choice((b"\0", b"\n" * 1000, b"{" * 500, b"\xff\xfe", b'"' * 9, b"1" * 5000))
            case 4:
                return rng.choice((b"", b"\n", b"null", b"[]", b"{}", b"\0" * 100, b"\x80\x04N.", b"\xef\xbb\xbf{}"))
            case _ if at < len(changed):
                changed[at] = rng.randrange(256)
    return bytes(changed)


def changed_file(path: Path, rng: random.Random) -> bytes:
    """What to write in the place of a file."""
    data = path.read_bytes()
    if rng.random() < 0.25:
        return change_bytes(data, rng)
    if path.suffix == ".json" or path.name == ".lock":
        changed = sealed(change_json(json.loads(data), rng))
        if rng.random() < 0.05:  # a key twice
            changed = changed.replace(b"{", b'{"status": 1, "seed": [], ', 1)
        return changed
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in data.splitlines()]
        if rng.random() < 0.1:
            rng.shuffle(rows)
        rows = change_json(rows, rng)
        return b"".join(sealed(row) + b"\n" for row in (rows if isinstance(rows, list) else [rows]))
    if path.suffix == ".safetensors":
        length = int.from_bytes(data[:8], "little")
        header = sealed(change_json(json.loads(data[8 : 8 + length]), rng))
        return len(header).to_bytes(8, "little") + header + data[8 + length :]
    return change_bytes(data, rng)


def agree(study: Study, path: Path) -> tuple[Path, bytes] | None:
    """Let the manifest of the run say what the file is now. Returns the manifest and its former content."""
    for folder in (path.parent, path.parent.parent):
        manifest = folder / "manifest.json"
        if manifest.is_file() and path != manifest:
            before = manifest.read_bytes()
            content = json.loads(before)
            entry = content["files"].get(str(path.relative_to(folder)))
            if entry is not None:
                entry |= {"sha256": file_digest(path), "bytes": path.stat().st_size}
                manifest.write_bytes(sealed(content))
                return manifest, before
    return None


# ------------------------------------------------------------------------------------------- Trying


def files_of(study: Study) -> list[Path]:
    """The files to change; those that are read as they are in every run of the readers come more often."""
    found = sorted(path for path in study.root.rglob("*") if path.is_file() and path.name != ".study.lock")
    often = [path for path in found if path.suffix in (".json", ".jsonl") or path.name == ".lock"]
    return [*found, *often * 3]


def try_one(study: Study, paths: list[Path], number: int, seed: int, *, figures: bool = False) -> tuple[str, str]:
    """Change one file, read, and restore it. Returns its kind and how it was taken."""
    rng = random.Random(f"{seed} {number}")
    path = rng.choice(paths)
    before = path.read_bytes()
    path.write_bytes(changed_file(path, rng))
    others = agree(study, path) if rng.random() < 0.7 else None
    try:
        with _in_time():
            return path.name, read_all(study, path, shows=figures or rng.random() < 0.1, figures=figures)
    except (Exception, HangError) as error:
        error.add_note(f"change {number} of seed {seed}, to {path}")
        raise
    finally:
        path.write_bytes(before)
        if others is not None:
            others[0].write_bytes(others[1])


@contextmanager
def _in_time() -> Iterator[None]:
    def late(*_: object) -> None:
        raise HangError(f"not read in {MOST_SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(MOST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=2_000, help="how many changes to try")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="try this one alone")
    parser.add_argument("--figures", type=int, default=200, help="draw the figures for one change in so many; 0: never")
    given = parser.parse_args()
    counts: Counter[tuple[str, str]] = Counter()
    failures: dict[str, list[int]] = {}
    began = time.monotonic()
    page.page_environment = cache(page.page_environment)  # type: ignore[assignment]  # compiling takes half of the time
    with tempfile.TemporaryDirectory() as folder:
        study = make_study(Path(folder))
        paths = files_of(study)
        for number in range(given.count) if given.only is None else (given.only,):
            figures = bool(given.figures) and number % given.figures == given.figures - 1
            try:
                counts[try_one(study, paths, number, given.seed, figures=figures)] += 1
            except (Exception, HangError) as error:
                place = traceback.extract_tb(error.__traceback__)[-1]
                ours = [one for one in traceback.extract_tb(error.__traceback__) if "/rlottery/" in one.filename][-1:]
                where = "".join(f", from {one.filename}:{one.lineno}" for one in ours)
                kind = f"{type(error).__name__} at {place.filename}:{place.lineno}{where}: {str(error)[:150]!a}"
                if given.only is not None:
                    traceback.print_exc()
                failures.setdefault(kind, []).append(number)
    for (name, how), number in sorted(counts.items()):
        print(f"{number:7,} {how:8} {name}")
    for kind, numbers in failures.items():
        print(f"FAILED {len(numbers)} times, first change {numbers[0]}: {kind}")
    failed = sum(map(len, failures.values()))
    total = failed + counts.total()
    print(f"{total:,} changes, {failed} failures of {len(failures)} kinds, {time.monotonic() - began:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
