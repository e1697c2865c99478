"""What is uploaded of a run or a study: files by their name in the repository. A data folder can be made of it again.

Replay buffers stay, because they are large. So does what says where a study was made: its command lines and folders.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from rlottery.config import Config, recorded_settings
from rlottery.errors import StudyError
from rlottery.export.finished_run import FinishedRun, read_finished
from rlottery.export.folded_policy import read_folded
from rlottery.export.formats import writer_of
from rlottery.hub.names import CHECKSUMS, HubError, is_safe_file
from rlottery.report.folders import film_files, report_files
from rlottery.storage.disk import file_digest
from rlottery.storage.manifests import check_files, read_manifest, write_sealed
from rlottery.storage.paths import RunFiles, Store, data_folder_of
from rlottery.storage.study_record import StudyRecord, config_from_record, read_study_record

POLICY_FORMATS = ("npz", "safetensors")
MOST_FILES, MOST_BYTES = 20_000, 50 * 2**30

Content = Path | bytes


@dataclass(frozen=True, eq=False)
class Bundle:
    """What is uploaded, without the model card.

    Attributes:
        files: name in the repository -> a file here, or its content.
        run: the run, if it isn't a whole study.
        config: the study's settings; None of a run without a study.
        data: the study's data folder.
        film: the name of a video in `files`, if there is one.
    """

    files: Mapping[str, Content]
    run: FinishedRun | None
    config: Config | None
    data: Path
    film: str | None = None

    def sizes(self) -> dict[str, int]:
        """Name -> bytes."""
        return {name: len(one) if isinstance(one, bytes) else one.stat().st_size for name, one in self.files.items()}


def check_source(path: Path) -> None:
    """Raise StudyError if there is neither a finished run nor a study in a folder."""
    if not path.is_dir():
        raise StudyError(f"There is no folder {path}. Give a run, data/runs/TASK/seed_N/ARM, or a study's data folder.")
    if Store(path).runs.is_dir():
        read_study_record(path)
    else:
        read_finished(path)


def bundle_of(path: Path, *, trust: bool = False) -> Bundle:
    """The files of a finished run (data/runs/TASK/seed_N/ARM) or of a study (its data folder).

    Args:
        path: a folder that `check_source` accepts.

    Raises:
        StudyError: there is neither, the run is not finished, or files are damaged.
        HubError: it is too large, or a file has a name that is not safe everywhere.
    """
    made = _of_study(path) if Store(path).runs.is_dir() else _of_run(path, trust=trust)
    if unsafe := [name for name in made.files if not is_safe_file(name)]:
        raise HubError(f"{unsafe[0]!r} can't be the name of a file on the Hub: rename it.")
    total = sum(made.sizes().values())
    if len(made.files) > MOST_FILES or total > MOST_BYTES:
        raise HubError(
            f"{path} has {len(made.files):,} files of {total:,} bytes: too much for a repository of the Hub."
        )
    return replace(made, files={**made.files, CHECKSUMS: _checksums(made.files)})


def _of_run(folder: Path, *, trust: bool) -> Bundle:
    run = read_finished(folder)
    data = data_folder_of(folder)
    config = None
    if data != folder.resolve():
        try:
            config = config_from_record(read_study_record(data), data)
        except StudyError:  # a run can be shared without its study
            config = None
    files: dict[str, Content] = dict(_files_of(run.files, Path("runs") / run.task.name / f"seed_{run.seed}" / run.arm))
    policy = read_folded(run, trust=trust).folded
    for name in POLICY_FORMATS:
        writer = writer_of(name)
        files[f"policy.{name}"] = writer.content(replace(policy, name="policy"))
    if config is not None:
        files["config.yaml"] = _yaml(config)
    film = _film(Store(data), run) if config is not None else None
    if film is not None:
        files["film.mp4"] = film
    return Bundle(files, run, config, data, None if film is None else "film.mp4")


def _of_study(data: Path) -> Bundle:
    record = read_study_record(data)
    config = config_from_record(record, data)
    store = Store(data)
    store.check_links()
    files: dict[str, Content] = {"study.json": _cleaned(record), "config.yaml": _yaml(config)}
    finished = 0
    for task in config.tasks:
        scores = store.untrained(task.name).scores
        for one in (store.trial(task.name), scores):
            if one.is_file():
                files[one.relative_to(data).as_posix()] = one
        for seed in config.seeds:
            for arm in store.arms(task.name, seed):
                of_run = store.run(task.name, seed, arm)
                if (manifest := read_manifest(of_run)) is not None and manifest["status"] in ("done", "diverged"):
                    finished += 1
                    files |= dict(_files_of(of_run, of_run.folder.relative_to(data)))
    if not finished:
        raise StudyError(f"{data} has no finished run yet. Run the study first: rlottery run CONFIG")
    own = report_files(store.report).names() | film_files(store.report).names()  # other files there are the user's
    shown = {f"report/{name}": store.report / name for name in sorted(own) if (store.report / name).is_file()}
    film = next((name for name in shown if name.endswith(".mp4")), None)
    return Bundle(files | shown, None, config, data, film)


def _files_of(run: RunFiles, place: Path) -> Iterator[tuple[str, Path]]:
    """The files of an ended run, checked, without its replay buffer and rewind points.

    Raises:
        DamagedError: a file is missing, or its content has changed.
    """
    manifest = read_manifest(run)
    assert manifest is not None
    wanted = (run.agent, run.initial, run.mask, run.metrics)
    listed = [file for file in wanted if file.name in manifest["files"]]
    check_files(run.folder, manifest["files"], *(file.name for file in listed))
    for file in (run.manifest, *listed):
        yield (place / file.name).as_posix(), file


def _cleaned(record: StudyRecord) -> bytes:
    """The study's record without what is about this machine and its user: command lines, folders, signatures."""
    kept = {key: value for key, value in record.items() if key not in ("module_folders", "own_code")}
    kept |= {"commands": [], "config": {**record["config"], "data": "data", "data_anywhere": False}}
    folder = Path(tempfile.mkdtemp())
    try:
        write_sealed(folder / "study.json", kept)
        return (folder / "study.json").read_bytes()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _yaml(config: Config) -> bytes:
    settings = {**recorded_settings(config), "data": "data", "data_anywhere": False}
    text: str = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    return text.encode()


def _film(store: Store, run: FinishedRun) -> Path | None:
    """The video that a report has shown of the run's task, if it is of this seed."""
    prefix = f"film_{run.task.name}_seed_{run.seed}_"
    found = (store.report / name for name in sorted(film_files(store.report).names()) if name.startswith(prefix))
    return next((file for file in found if file.is_file()), None)


def _checksums(files: Mapping[str, Content]) -> bytes:
    lines = []
    for name, one in sorted(files.items()):
        digest = hashlib.sha256(one).hexdigest() if isinstance(one, bytes) else file_digest(one)
        lines.append(f"{digest}  {name}\n")
    return "".join(lines).encode()
