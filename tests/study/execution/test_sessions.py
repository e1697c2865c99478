from pathlib import Path

import pytest

from rlottery.storage.paths import Store
from rlottery.study.execution.sessions import MOST_LOST, begin_session, stop_session
from tests.study.studies import job, tiny_config


@pytest.mark.parametrize("stage", ["dense", "ticket"])
def test_a_run_that_reaches_its_limit_twice_without_progress_is_stopped(tmp_path: Path, stage: str) -> None:
    config = tiny_config(tmp_path)
    store, files = Store(config.data), job(config, stage).files
    assert begin_session(store, files) == "" and stop_session(store, files) == ""
    assert begin_session(store, files) == ""
    why = stop_session(store, files)
    assert why.startswith("Its allocation reached its time limit 2 times without progress")
    assert begin_session(store, files) == why


def test_a_run_that_gets_on_may_be_stopped_as_often_as_it_likes(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    store, files = Store(config.data), job(config, "ticket").files
    files.folder.mkdir(parents=True)
    for session in range(6):  # a mask, and then none, and so on: another place each time
        assert begin_session(store, files) == ""
        files.mask.unlink() if session % 2 else files.mask.write_bytes(b"mask")
        assert stop_session(store, files) == ""


def test_a_run_whose_node_is_lost_again_and_again_is_stopped(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    store, files = Store(config.data), job(config, "dense").files
    assert [begin_session(store, files) for _ in range(MOST_LOST)] == [""] * MOST_LOST
    assert begin_session(store, files).startswith(f"Its allocation was lost {MOST_LOST} times without progress")
