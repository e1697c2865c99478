"""What SECURITY.md says of code and of folders, line by line. The study is somebody else's (`tests.planted`)."""

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

import rlottery
from rlottery.config import Task
from rlottery.errors import ConfigError, RlotteryError, TaskError
from rlottery.export.play import ReportFilm, play
from rlottery.export.policy import load_agent
from rlottery.pruning import criteria
from rlottery.report.contents import Contents
from rlottery.report.folders import film_files
from rlottery.safety.search_path import tidy
from rlottery.storage import local_modules, signing, trust
from rlottery.storage.manifests import read_sealed, write_sealed
from rlottery.storage.open_study import config_to_run
from rlottery.storage.paths import RunFiles, Store
from rlottery.storage.study_record import note_command
from rlottery.storage.trust import allow_code_of_study, note_run
from tests.command import call
from tests.planted import CRITERION, NAMED, READING, SHADOWS, TASK, Planted, started
from tests.study.studies import change_manifest, forget_spaces
from tests.tracking.test_following import STAND_IN

PAGE = Path(__file__).parent.parent / "SECURITY.md"
DENSE = "data/runs/planted_task_Planted-v0/seed_0/dense"
MASK = "data/runs/planted_task_Planted-v0/seed_0/magnitude-80/mask.pkl"
AGENT = Path(__file__).parent / "fixtures/sb3/agent.zip"


class Spy:
    """Finds the planted modules wherever the search path leads, and notes who asks for them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, set[str]()

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        if name not in NAMED:
            return None
        self.asked.add(name)
        return importlib.util.spec_from_file_location(name, self.folder / f"{name}.py")

    def seen(self) -> set[str]:
        """The modules that were asked for since the last time, which are forgotten as in a new process."""
        found, self.asked = self.asked, set()
        for name in NAMED:
            sys.modules.pop(name, None)
        return found


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """One with modules of many names, for processes."""
    return Planted(tmp_path_factory.mktemp("full"))


@pytest.fixture
def planted(full: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Planted:
    """A copy of it."""
    made = full.copied(tmp_path / "planted")
    monkeypatch.chdir(made.folder)
    return made


@pytest.fixture
def spy(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spy]:
    """Trials and films are made in this process; a report draws nothing else."""

    def tried(function: str, task: str, kwargs: dict[str, Any], *_: bool, seconds: float) -> Any:
        rlottery.envs.make(task, kwargs)  # type: ignore[attr-defined]
        raise TaskError("tried")

    def missing(folder: Path, contents: Contents, *_: object) -> list[Path]:
        print(*contents.missing)
        return []

    spy = Spy(planted.elsewhere)
    monkeypatch.setattr(sys, "meta_path", [spy, *sys.meta_path])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(local_modules, "_folders", [])
    monkeypatch.setattr(trust, "_ran", {})
    monkeypatch.setattr("rlottery.pruning.criteria._imported", {})
    monkeypatch.setattr("rlottery.study.planning.trials.ChildCall", tried)
    monkeypatch.setattr("rlottery.report.files.write_report", missing)
    monkeypatch.setattr("rlottery.report.study_comparison.write_comparison", lambda compared, to, say: [])
    monkeypatch.setattr("rlottery.report.films.film_chosen", lambda task, contents: ("magnitude-80", 0))
    yield spy
    spy.seen()


def sign(planted: Planted) -> None:
    """What `rlottery run` does to the study, as if it had been in another process."""
    config = planted.config()
    note_command(config, has_work=False, ran=note_run(config))
    trust._ran.clear()


def unsign(planted: Planted) -> None:
    path = Store(planted.data).record
    write_sealed(path, {key: value for key, value in read_sealed(path).items() if key != "own_code"})


def earlier(folder: str = DENSE) -> None:
    forget_spaces(RunFiles(Path(folder)))


def words(*arguments: str) -> Callable[[], str]:
    """A command, and all that it says."""
    return lambda: "".join(map(str, call(*arguments)))


def python(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Callable[[], str]:
    def said() -> str:
        try:
            return str(function(*arguments, **keywords))
        except RlotteryError as error:
            return str(error)

    return said


def exported() -> str:
    earlier()
    return words("export", DENSE, "--to", f"{len(list(Path().iterdir()))}.npz")()


def tracked() -> str:
    """`rlottery track`, with a stand-in for the tracker."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STAND_IN_FILE", "sent")
        patch.syspath_prepend(str(STAND_IN))
        return words("track", "data", "--to", "trackio")()


RUN = {
    "`rlottery run`, `rlottery run --dry-run`, `main()`, `run_pipeline.py`": [
        (words("run"), set(NAMED)),
        (words("run", "--dry-run"), set(NAMED)),
        (python(rlottery.main), set(NAMED)),
    ],
    "`rlottery import`": [
        (words("import", str(AGENT), "--task", TASK, "--to", "imported"), {"planted_task"}),
        (words("import", str(AGENT), "--study", "config.yaml"), {"planted_score"}),
    ],
    "`rlottery check TASK`": [(words("check", TASK), {"planted_task"})],
    "`rlottery check ... --study CONFIG`": [
        (words("check", TASK, "--study", "config.yaml"), {"planted_task"}),
        (words("check", MASK, "--study", "config.yaml"), {"planted_task"}),
    ],
}
"""The lines of commands that run what they are given: what they import."""

NEED_TRUST = {
    "`rlottery check ... --study FOLDER`": [
        (("check", TASK, "--study", "data"), {"planted_task"}),
        (("check", MASK, "--study", "data"), {"planted_task"}),
    ],
    "`rlottery play`, `play()`": [(("play", DENSE, "--to", "film.mp4"), {"planted_task"})],
    "`rlottery report`": [(("report", "data"), {"planted_task"}), (("report", "config.yaml"), {"planted_task"})],
    "`rlottery report --stability K`": [(("report", "data", "--stability", "2"), {"planted_score"})],
    "`rlottery export --int8`": [(("export", DENSE, "--int8", "--to", "int8.h"), {"planted_task"})],
    "`rlottery export`, `rlottery push`, `load_agent()`": [
        (("export", DENSE, "--to", "earlier.npz"), {"planted_task"}),
        (("push", DENSE, "--repo", "me/earlier"), {"planted_task"}),
    ],
}
"""The lines of commands that run something of a study that is yours or trusted: what they import then."""

NOTHING = {
    "`rlottery status`, `verify`, `compare`, `load_study()`, `rlottery check MASK`": [
        *(words(*line) for line in READING if line[0] in ("status", "verify", "compare")),
        words("check", MASK),
        python(rlottery.load_study, "data"),
        python(rlottery.load_study, "config.yaml"),
    ],
    "`rlottery arms`, `doctor`, `init`": [words("arms"), words("init", "another")],
    "`rlottery track`, `pull`": [tracked],  # pulling needs a server: tests/hub
    "`rlottery export`, `rlottery push`, `load_agent()`": [
        words("push", "data", "--repo", "me/study"),
        words("push", DENSE, "--repo", "me/agent"),
        *(words("export", DENSE, "--format", name) for name in ("npz", "safetensors", "c")),
        python(load_agent, DENSE),
    ],
}
"""The lines of commands that run nothing."""

LIBRARY = "`rlottery import --library-python PYTHON`"
"""The line of the command that runs another Python."""


def test_every_line_of_the_table_has_a_test() -> None:
    table = PAGE.read_text().partition("| command or function |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| (`.*?) \|", table, flags=re.M)) == {*RUN, *NEED_TRUST, *NOTHING, LIBRARY}


@pytest.mark.parametrize("line", NOTHING)
def test_reading_runs_nothing(planted: Planted, spy: Spy, line: str) -> None:
    path = list(sys.path)
    for command in NOTHING[line]:
        said = command()
        assert "Traceback" not in said and "error:" not in said
        assert (spy.seen(), sys.path) == (set(), path)


@pytest.mark.parametrize("line", RUN)
def test_what_is_asked_for_runs(planted: Planted, spy: Spy, line: str) -> None:
    for command, modules in RUN[line]:
        path = list(sys.path)
        command()
        assert spy.seen() == modules
        assert sys.path[: len(path)] == path, "the current folder and the config's are searched last"
        assert str(planted.folder) in sys.path


def test_the_library_runs_in_the_python_that_is_named(planted: Planted, spy: Spy) -> None:
    python, ran = Path("python").absolute(), Path("ran").absolute()
    python.write_text(f"#!/bin/sh\ntouch '{ran}'\n")
    python.chmod(0o700)
    asked = "--initial-from-seed", "--library-python", str(python)
    said = words("import", str(AGENT), "--task", TASK, "--to", "by-library", *asked)()
    assert ran.exists(), said
    assert "gave no answer" in said
    assert spy.seen() == set(), "nothing runs in this process before the agent is read"


@pytest.mark.parametrize("line", NEED_TRUST)
def test_a_study_of_somebody_else_needs_trust(planted: Planted, spy: Spy, line: str) -> None:
    for command, modules in NEED_TRUST[line]:
        unsign(planted)
        shutil.rmtree(Store(planted.data).report, ignore_errors=True)  # a film that there is needs no code
        if command[0] in ("export", "push"):
            earlier()
        path = list(sys.path)
        code, output, message = call(*command)
        assert (spy.seen(), sys.path) == (set(), path)
        said = output + message
        assert "--trust" in said and "no command of yours has run" in said
        if command != ("report", command[-1]):
            assert code == 2 and "'planted_task:Planted-v0', which imports 'planted_task'" in said
            assert 'with the arguments {"power": 2.0}' in said
        for trusted in ([*command, "--trust"], list(command)):
            local_modules._folders.clear()
            criteria._imported.clear()
            if trusted == list(command):  # its own: a command of this user has run it
                sign(planted)
                for made in ("earlier.npz", "int8.h", "film.mp4"):
                    (planted.folder / made).unlink(missing_ok=True)
            shutil.rmtree(Store(planted.data).report, ignore_errors=True)
            sys.path[:] = path
            said = call(*trusted)
            assert modules <= spy.seen() <= set(NAMED), (trusted, said)
            assert (str(planted.folder) in sys.path) == (TASK in command)
        sys.path[:] = path


def test_python_says_trust_too(planted: Planted, spy: Spy) -> None:
    earlier()
    run, store, task = planted.run(), Store(planted.data), planted.config().tasks[0]
    film = ReportFilm(store, task, "magnitude-80", 0, film_files(store.report))
    for asked in (
        lambda trust: load_agent(run, trust=trust),
        lambda trust: play([run], Path("film.mp4"), trust=trust),
        lambda trust: film.make(trust=trust),
    ):
        with pytest.raises(RlotteryError, match="--trust"):
            asked(False)
        assert spy.seen() == set()
        python(asked, True)()
        assert spy.seen() == {"planted_task"}


class TestWhoseItIs:
    """A signed study is the user's own, and only what was signed of it."""

    def refused(self, spy: Spy, run: str = DENSE) -> bool:
        said = words("play", run, "--to", "film.mp4")()
        asked = spy.seen()
        assert ("--trust" in said) == (not asked)
        return not asked

    def test_a_run_signs_it_even_if_all_is_done(self, planted: Planted, spy: Spy) -> None:
        assert self.refused(spy)
        note_command(planted.config(), has_work=True)
        commands = len(read_sealed(Store(planted.data).record)["commands"])
        sign(planted)
        assert not self.refused(spy)
        assert len(read_sealed(Store(planted.data).record)["commands"]) == commands

    def test_a_copy_is_the_users_too(self, planted: Planted, spy: Spy) -> None:
        sign(planted)
        planted.data.rename("copy")
        assert not self.refused(spy, DENSE.replace("data", "copy", 1))

    @pytest.mark.parametrize(
        "task",
        [
            {"id": TASK, "kwargs": {}},
            {"id": TASK, "kwargs": {"power": 2.0, "xml_file": "/tmp/evil.xml"}},
            {"id": TASK, "kwargs": {"power": True}},
            {"id": "planted_score:Planted-v0", "kwargs": {"power": 2.0}},
        ],
    )
    def test_a_manifest_that_names_another_task_is_not(self, planted: Planted, spy: Spy, task: Any) -> None:
        sign(planted)
        earlier()
        fingerprint = {"sac": {}, "name": "tiny", "evaluation": {"episodes": 1}, "task": task}
        change_manifest(RunFiles(Path(DENSE)), fingerprint=fingerprint)
        assert self.refused(spy)

    @pytest.mark.parametrize("part", ["tasks", "criteria", "module_folders", "signature"])
    def test_a_changed_signature_is_none(self, planted: Planted, spy: Spy, part: str) -> None:
        sign(planted)
        path = Store(planted.data).record
        record = read_sealed(path)
        code = record["own_code"]
        more: Any = {
            "tasks": [*code["tasks"], {"id": "os:Evil-v0", "kwargs": {}}],
            "criteria": ["os:system"],
            "module_folders": ["/tmp"],
            "signature": "0" * 64,
        }
        write_sealed(path, {**record, "own_code": {**code, part: more[part]}})
        assert self.refused(spy)

    def test_another_users_key_signs_nothing_here(
        self, planted: Planted, spy: Spy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        sign(planted)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "of-another"))
        assert self.refused(spy)

    def test_somebody_elses_tasks_are_not_signed_with_ones_own(self, planted: Planted) -> None:
        """Running one's own config in a foreign folder joins the records, but signs only one's own part."""
        config = planted.config().model_copy(update={"tasks": (Task(id="Pendulum-v1"),), "arms": ()})
        note_command(config, has_work=True, ran=note_run(config))
        trust._ran.clear()
        record = read_sealed(Store(planted.data).record)
        assert [task["id"] for task in record["config"]["tasks"]] == [TASK, "Pendulum-v1"]
        allow_code_of_study(config, trust=False, what="This")
        with pytest.raises(trust.UntrustedError, match="planted_task"):
            allow_code_of_study(planted.config(), trust=False, what="This")

    def test_without_a_home_nothing_fails_and_the_command_itself_still_knows(
        self, planted: Planted, spy: Spy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", "/proc/no")
        config = planted.config()
        note_command(config, has_work=False, ran=note_run(config))
        assert read_sealed(Store(planted.data).record)["own_code"]["signature"] == ""
        assert not self.refused(spy)
        trust._ran.clear()
        assert self.refused(spy)

    def test_only_folders_that_have_the_modules_are_kept(self, planted: Planted, spy: Spy) -> None:
        """Not the folder that the command happened to be started in, where anybody may put files later."""
        local_modules.allow_local_modules([planted.elsewhere, Path("/")])
        assert note_run(planted.config())["module_folders"] == [str(planted.elsewhere)]


class TestKey:
    @pytest.fixture(autouse=True)
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        self.file = tmp_path / "state/rlottery/key"

    def test_it_is_made_once_for_the_user_alone(self) -> None:
        signed = signing.signature({"a": 1})
        assert signed is not None and self.file.stat().st_mode & 0o777 == 0o600
        key = self.file.read_bytes()
        assert len(key) == 32 and [path.name for path in self.file.parent.iterdir()] == ["key"]
        assert signing.signature({"a": 1}) == signed and self.file.read_bytes() == key
        assert signing.is_signed({"a": 1}, signed)
        assert not any(signing.is_signed({"a": 1}, other) for other in ("", "é", "\ud800", signed.upper()))
        assert not signing.is_signed({"a": 2}, signed)

    def test_one_that_others_can_read_is_not_used_and_not_replaced(self) -> None:
        signed = signing.signature({"a": 1})
        assert signed is not None
        self.file.chmod(0o644)
        assert signing.signature({"a": 1}) is None and not signing.is_signed({"a": 1}, signed)
        self.file.chmod(0o600)
        assert signing.is_signed({"a": 1}, signed)

    @pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, Path.touch])
    def test_something_else_in_its_place(self, make: Callable[[Path], None]) -> None:
        self.file.parent.mkdir(parents=True)
        make(self.file)
        assert signing.signature({"a": 1}) is None and not signing.is_signed({"a": 1}, "0" * 64)

    def test_where_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/home/someone")
        for value in ("", "relative"):
            monkeypatch.setenv("XDG_STATE_HOME", value)
            assert signing.key_file() == Path("/home/someone/.local/state/rlottery/key")


class TestData:
    """Where a config may write."""

    OUTSIDE = ("../outside", "{absolute}", "link", "link/below", "data/../../outside", "~/outside")

    def config(self, planted: Planted, data: str, more: str = "") -> str:
        data = data.format(absolute=planted.elsewhere)
        text = planted.config_file.read_text()
        planted.config_file.write_text(f"{text}data: {data}\n{more}")
        (planted.folder / "link").symlink_to(planted.elsewhere)
        return data

    @pytest.mark.parametrize("data", OUTSIDE)
    def test_outside_is_refused_before_anything_is_imported_or_written(
        self, planted: Planted, spy: Spy, data: str
    ) -> None:
        self.config(planted, data)
        before = sorted(planted.folder.parent.rglob("*"))
        messages = [call(*command) for command in (["run"], ["run", "--dry-run"], ["report"], ["report", "--to", "x"])]
        with pytest.raises(ConfigError) as error:
            rlottery.main()
        for code, output, message in (*messages, (2, "", f"error: {error.value}")):
            assert (code, output) == (2, "")
            assert message.startswith("error: config.yaml: data: ") and "is outside the working directory" in message
            assert "data_anywhere: true" in message and "command line: data=" in message
        assert spy.seen() == set() and sorted(planted.folder.parent.rglob("*")) == before

    def test_both_ways_out_and_what_needs_none(self, planted: Planted, spy: Spy) -> None:
        self.config(planted, "../outside")
        assert config_to_run(planted.config_file, ["data=../outside"]).data == Path("../outside")
        assert config_to_run(planted.config_file, ["data_anywhere=true"]).data == Path("../outside")
        assert "outside the working directory" not in words("status")()
        for inside in (".", "data", "data/../data", str(planted.folder / "deep/er")):
            text = re.sub(r"(?m)^data: .*", f"data: {inside}", planted.config_file.read_text())
            planted.config_file.write_text(text)
            assert config_to_run(planted.config_file).data == Path(inside)


class TestProcesses:
    """Real ones, in a folder full of modules with the names of others. `python -m tests.planted` tries all commands."""

    @pytest.mark.parametrize(
        ("line", "way"),
        [
            (("verify", "data"), "python -m rlottery"),
            (("status", "config.yaml"), "PYTHONPATH=: rlottery"),
            (("--help",), "python run_pipeline.py"),
        ],
    )
    def test_nothing_of_the_folder_runs(self, full: Planted, line: tuple[str, ...], way: str) -> None:
        full.ran()
        done = started(full, line, way)
        assert full.ran() == [] and done.returncode in (0, 1) and "Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("path", "argv", "asked", "tidied"),
    [
        (["{here}", "{own}"], ["-m"], ["python", "-m", "rlottery", "run"], ["{own}"]),
        (["{here}", "{own}"], ["-m"], ["python", "-mrlottery"], ["{own}"]),
        (["{here}", "{own}"], ["-m"], ["python", "-m", "another"], ["{here}", "{own}"]),
        (["{here}", "{own}"], ["/a/pytest"], ["python", "/a/pytest"], ["{here}", "{own}"]),
        (["{here}", "{own}"], ["run_pipeline.py"], ["python", "run_pipeline.py"], ["{own}", "{here}"]),
        (["/bin", "/x", "{here}", "{own}", "{here}"], ["/bin/rlottery"], ["python"], ["/bin", "/x", "{own}", "{here}"]),
    ],
)
def test_what_is_searched_first(
    path: list[str], argv: list[str], asked: list[str], tidied: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"/x{os.pathsep}" if "/x" in path else "")
    places = {"here": str(Path.cwd()), "own": str(Path(os.__file__).parent)}
    found = [place.format(**places) for place in path]
    tidy(found, argv, asked)
    assert found == [place.format(**places) for place in tidied]


def test_the_plan_is_complete() -> None:
    assert CRITERION.partition(":")[0] in NAMED and "yaml" in SHADOWS
