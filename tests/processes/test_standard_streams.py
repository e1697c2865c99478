"""What commands print reaches whoever can read it, and nothing that happens to the streams ends the work."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from rlottery.errors import StudyError
from rlottery.pipeline import BAD_INPUT, SOME_FAILED, end_with, fail, plain_errors
from rlottery.processes.standard_streams import lasting_streams, work_is_in_files


@pytest.fixture
def streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Puts a file in the place of standard output and another, which it returns, in that of standard error."""
    opened = []

    def use(path: str | int, encoding: str = "utf-8") -> Path:
        for name, file in (("stdout", path), ("stderr", tmp_path / "stderr")):
            opened.append(open(file, "w", encoding=encoding))  # noqa: PTH123, SIM115
            monkeypatch.setattr(sys, name, opened[-1])
        return tmp_path / "stderr"

    yield use
    for file in opened:
        file.close()


def say(text: str = "word") -> None:
    for _ in range(3):
        print(text, flush=True)


def test_a_reader_that_goes_away_is_no_error(streams: Any) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    errors = streams(writing)
    with lasting_streams() as lasting:
        say()
        print("more than a buffer holds" * 10_000)
    assert lasting.fault is None and errors.read_text() == ""


def test_a_full_disk_is_one_line(streams: Any) -> None:
    errors = streams("/dev/full")
    with lasting_streams():
        say()
        say()
    assert errors.read_text() == "error: standard output can't be written: No space left on device.\n"


@pytest.mark.parametrize("writes_files", [True, False])
@pytest.mark.parametrize(
    ("file", "ends", "code"),
    [("/dev/full", 0, BAD_INPUT), ("/dev/full", SOME_FAILED, SOME_FAILED), ("/dev/null", 0, 0), ("/dev/null", 75, 75)],
)
def test_work_decides_and_output_only_where_there_is_nothing_else(
    streams: Any, file: str, ends: int, code: int, writes_files: bool
) -> None:
    errors = streams(file)

    def command() -> None:
        if writes_files:
            work_is_in_files()
        say()
        raise SystemExit(ends)

    with pytest.raises(SystemExit) as end:
        end_with(command)
    assert end.value.code == (ends if writes_files else code)
    assert errors.read_text().count("standard output can't be written") == (file == "/dev/full")


def test_a_log_goes_on_once_there_is_room_again(tmp_path: Path) -> None:
    code = """
import resource, signal
from pathlib import Path
from rlottery.processes.standard_streams import lasting
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with Path("log").open("a", buffering=1) as file:
    log = lasting(file)
    for limit in (0, 100):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        print("limit", limit, file=log, flush=True)
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert (tmp_path / "log").read_text() == "limit 100\n"


def test_errors_are_lost_without_ending_the_work(streams: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    streams("/dev/null")
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        with pytest.raises(BaseException) as end:
            end_with(lambda: fail(StudyError("a message")))
    assert getattr(end.value, "exit_code", None) == BAD_INPUT


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_every_character_can_be_printed(streams: Any, tmp_path: Path, encoding: str) -> None:
    errors = streams(tmp_path / "stdout", encoding)
    table = Table("Größe", title="ticket − dense")  # noqa: RUF001
    table.add_row("━╌ 3 × 4 ≥ 10 … 漢 \N{PILE OF POO} \udce9")  # noqa: RUF001
    with lasting_streams():
        Console(width=60).print(table)
        print("─ é −1 \udce9", file=sys.stderr)  # noqa: RUF001
    shown = (tmp_path / "stdout").read_bytes()
    if encoding == "ascii":
        text = shown.replace(b"\xe9", b"").decode("ascii")
        assert "Große" not in text and "ticket - dense" in text and "=- 3 x 4 >= 10 ... ? ? " in text
        assert errors.read_bytes() == b"- e -1 \xe9\n"
    else:
        assert "Größe" in shown.decode(encoding, errors="replace")


def test_a_file_name_that_the_locale_lacks_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BaseException) as end, plain_errors():
        "größe".encode("ascii")
    assert getattr(end.value, "exit_code", None) == BAD_INPUT
    assert "'größe' can't be the name of a file in this locale, whose encoding is ascii" in capsys.readouterr().err


def test_streams_that_are_no_files_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (io.StringIO(), io.TextIOWrapper(io.BytesIO()), None):
        monkeypatch.setattr(sys, "stdout", stream)
        with lasting_streams():
            assert sys.stdout is stream
        assert sys.stdout is stream


def test_one_inside_another_changes_nothing(streams: Any, tmp_path: Path) -> None:
    streams(tmp_path / "stdout")
    before = sys.stdout
    with lasting_streams():
        inner = sys.stdout
        assert inner is not before
        with lasting_streams():
            assert sys.stdout is inner
            say("a")
        say("b")
    assert sys.stdout is before and (tmp_path / "stdout").read_text() == "a\na\na\nb\nb\nb\n"


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from rlottery.processes.standard_streams import lasting_streams\n"
        "with lasting_streams(), open('file', 'w') as file:\n"
        "    print('lost'); os.write(1, b'lost'); os.write(2, b'lost'); file.write(str(file.fileno() > 2))\n"
    )
    closed = f'exec "{sys.executable}" -c "{code}" <&- >&- 2>&-'
    assert subprocess.run(["sh", "-c", closed], cwd=tmp_path, check=False).returncode == 0
    assert (tmp_path / "file").read_text() == "True"
