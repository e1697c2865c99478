import errno
import hashlib
import json
import math
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboardX.proto import event_pb2

from rlottery.errors import StudyError
from rlottery.storage import metrics_log
from rlottery.storage.metrics_log import MetricsLog, Position, read_evaluations, read_metrics

ROWS = [
    {"kind": "evaluation", "env_steps": 0, "return": -3.5, "returns": [-3.0, -4.0], "lengths": [5, 5]},
    {"kind": "episode", "env_steps": 5, "return": 0.1, "length": 5, "success": 1.0},
    {"kind": "evaluation", "env_steps": 10, "return": 1 / 3, "returns": [1 / 3], "lengths": [5]},
]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "metrics.jsonl"
    with MetricsLog(path, tmp_path / "board") as log:
        for row in ROWS:
            log.write(row)
    return path


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    """What a folder's event file holds."""
    (path,) = folder.iterdir()
    return [(value.tag, event.step, value.simple_value) for event in events(path) for value in event.summary.value]


def events(path: Path) -> Iterator[Any]:
    """A record is its length, 4 bytes of checksum, the event, 4 bytes more."""
    data = path.read_bytes()
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        yield event_pb2.Event.FromString(data[12 : 12 + length])
        data = data[16 + length :]


def test_rows_come_back_as_they_were(written: Path) -> None:
    assert list(read_metrics(written)) == ROWS
    assert [json.loads(line) for line in written.read_text().splitlines()] == ROWS
    assert read_evaluations(written) == [ROWS[0], ROWS[2]]


def test_who_has_lost_the_run_appends_to_no_file_of_whoever_goes_on(written: Path, tmp_path: Path) -> None:
    length = written.stat().st_size
    for resume in (Position(length, ""), None):
        with MetricsLog(written, tmp_path / "board", Position(length, "")) as lost:
            with MetricsLog(written, tmp_path / "board", resume) as log:
                lost.write({"kind": "episode", "env_steps": 11, "return": 9.0, "length": 5})
                log.write({"kind": "episode", "env_steps": 11, "return": 1.0, "length": 5})
                assert log.position().bytes == written.stat().st_size
            assert b"9.0" not in written.read_bytes()
        kept = ROWS if resume else []
        assert list(read_metrics(written)) == [*kept, {"kind": "episode", "env_steps": 11, "return": 1.0, "length": 5}]
        written.write_text("".join(json.dumps(row) + "\n" for row in ROWS))


def test_evaluations_are_read_without_the_rest(written: Path) -> None:
    expected = [row for row in read_metrics(written) if row["kind"] == "evaluation"]
    assert expected and read_evaluations(written) == expected


@pytest.mark.parametrize(
    ("line", "said"),
    [("nonsense", "not a JSON object"), ('{"kind": "losses"', "not a JSON object"), ("{}", "not a row")],
)
def test_a_line_of_another_form_is_named(written: Path, line: str, said: str) -> None:
    with written.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(StudyError, match=said):
        read_evaluations(written)


def test_a_line_of_another_layout_is_read(written: Path) -> None:
    with written.open("a") as file:
        file.write('{"env_steps": 17, "return": 1, "kind": "evaluation"}\n{ "kind": "losses", "env_steps": 7 }\n')
    assert read_evaluations(written)[-1] == {"env_steps": 17, "return": 1, "kind": "evaluation"}


def test_rows_can_be_read_while_they_come(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path, tmp_path / "board") as log:
        for count, row in enumerate(ROWS, start=1):
            log.write(row)
            assert list(read_metrics(path)) == ROWS[:count]


def test_tensorboard_shows_the_scalars(written: Path, tmp_path: Path) -> None:
    assert scalars(tmp_path / "board") == [
        ("evaluation/return", 0, -3.5),
        ("episode/return", 5, pytest.approx(0.1)),
        ("episode/success", 5, 1.0),
        ("evaluation/return", 10, pytest.approx(1 / 3)),
    ]


def test_a_new_log_replaces_the_old_one(written: Path, tmp_path: Path) -> None:
    with MetricsLog(written, tmp_path / "board") as log:
        log.write(ROWS[1])
    assert list(read_metrics(written)) == [ROWS[1]]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_json_has_no_word_for_is_refused(tmp_path: Path, value: float) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path, tmp_path / "board") as log, pytest.raises(ValueError, match="JSON compliant"):
        log.write({"kind": "evaluation", "env_steps": 0, "return": value})
    assert path.read_bytes() == b""


@pytest.mark.parametrize("cut", [1, 2, 20])
def test_a_torn_last_line_is_left_out(written: Path, cut: int) -> None:
    written.write_bytes(written.read_bytes()[:-cut])
    assert list(read_metrics(written)) == ROWS[:2]


def test_nothing_written_yet_is_no_row(written: Path) -> None:
    written.write_bytes(b"")
    assert list(read_metrics(written)) == []


@pytest.mark.parametrize("damage", [b"{", b"[1]", b"", b"\xff\xfe", b"null"])
def test_a_damaged_line_is_named_by_its_number(written: Path, damage: bytes) -> None:
    lines = written.read_bytes().split(b"\n")
    lines[1] = damage
    written.write_bytes(b"\n".join(lines))
    with pytest.raises(StudyError, match=r"metrics\.jsonl:2: not a JSON object"):
        list(read_metrics(written))


def test_missing_metrics_are_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"gone\.jsonl can't be read: No such file"):
        list(read_metrics(tmp_path / "gone.jsonl"))


def test_a_log_goes_on_from_a_position_and_forgets_what_came_after(written: Path, tmp_path: Path) -> None:
    whole = written.read_bytes()
    with MetricsLog(written, tmp_path / "board") as log:
        log.write(ROWS[0])
        log.write(ROWS[1])
        position = log.position()
        log.write({"kind": "episode", "env_steps": 7, "return": 9.0})
    assert position == (len(b"".join(whole.splitlines(True)[:2])), hashlib.sha256(whole[: position.bytes]).hexdigest())
    with MetricsLog(written, tmp_path / "board", position, 5) as log:
        log.write(ROWS[2])
        assert log.position() == (len(whole), hashlib.sha256(whole).hexdigest())
    assert written.read_bytes() == whole


def test_tensorboard_is_told_what_to_hide(written: Path, tmp_path: Path) -> None:
    folder = tmp_path / "board"
    position = Position(len(written.read_bytes()), "")
    with MetricsLog(written, folder, position, 10):
        pass
    _, path = sorted(folder.iterdir())
    starts = [event.step for event in events(path) if event.session_log.status == event_pb2.SessionLog.START]
    assert starts == [11]


def as_tensorboard_shows(folder: Path) -> list[tuple[str, int]]:
    """Tag and step of what TensorBoard shows: it reads files by name, and a start hides its step and all later ones."""
    shown: list[tuple[str, int]] = []
    for path in sorted(folder.iterdir()):
        assert "tfevents" in path.name
        for event in events(path):
            if event.session_log.status == event_pb2.SessionLog.START:
                shown = [(tag, step) for tag, step in shown if step < event.step]
            shown += [(value.tag, event.step) for value in event.summary.value]
    return shown


KILLED = """
import os, sys
from pathlib import Path
from rlottery.storage.metrics_log import MetricsLog
log = MetricsLog(Path(sys.argv[1], "metrics.jsonl"), Path(sys.argv[1], "board"))
for step in range(403):
    log.write({"kind": "evaluation", "env_steps": step, "return": float(step)})
    if step == 400:
        print(log.position().bytes, flush=True)
os._exit(9)
"""


def test_tensorboard_has_every_row_once_however_often_a_run_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, check=False)
    at_400 = int(killed.stdout)
    with MetricsLog(tmp_path / "metrics.jsonl", tmp_path / "board", Position(at_400, ""), 400) as log:
        monkeypatch.setattr(metrics_log, "FLUSH_SECONDS", 0.0)
        for step in (401, 402):
            log.write({"kind": "evaluation", "env_steps": step, "return": 0.0})
    monkeypatch.setattr(metrics_log.time, "time", lambda: 0.0)  # a clock that was set back
    with MetricsLog(tmp_path / "metrics.jsonl", tmp_path / "board", Position(at_400, ""), 400) as log:
        for step in range(401, 405):
            log.write({"kind": "evaluation", "env_steps": step, "return": 0.0})
    assert as_tensorboard_shows(tmp_path / "board") == [("evaluation/return", step) for step in range(405)]


def test_a_disk_that_is_full_is_heard_of(tmp_path: Path) -> None:
    with MetricsLog(tmp_path / "metrics.jsonl", tmp_path / "board") as log:
        log._file.close()
        log._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
        with pytest.raises(OSError) as caught:
            log.write(ROWS[0])
    assert caught.value.errno == errno.ENOSPC
