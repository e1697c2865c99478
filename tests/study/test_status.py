import json
import os
import shutil
from pathlib import Path

import pytest

from rlottery.config import Config
from rlottery.errors import StudyError
from rlottery.storage.disk import write_bytes
from rlottery.storage.paths import Store
from rlottery.study.status import status_table
from rlottery.study.verify import examine
from tests.storage.test_lease import leased_by
from tests.study.studies import (
    change_manifest,
    contents,
    job,
    shown,
    tiny_config,
    write_dense,
    write_mask,
    write_record,
    write_study,
    write_untrained,
)


def status(config: Config) -> dict[str, str]:
    """Arm and seed -> state and details."""
    rows = [line.split(maxsplit=3) for line in shown(status_table(config), width=500).splitlines()[2:-1]]
    return {f"{arm} {seed}": rest.strip() for _, seed, arm, rest in rows if arm != "untrained"}


def test_nothing_yet(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "seeds=[0, 1]")
    assert status(config) == {"dense 0": "to do", "dense 1": "to do"}
    assert not config.data.exists()


def test_half_done(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "seeds=[0, 1]")
    write_dense(config)
    write_mask(config)
    assert status(config) == {
        "dense 0": "done       in 2 s",
        "magnitude-80 0": "mask made  ticket not trained yet",
        "dense 1": "to do",
        "magnitude-80 1": "to do",
    }


def test_done(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    write_study(config)
    before = contents(config.data)
    assert status(config) == {"dense 0": "done   in 2 s", "magnitude-80 0": "done   in 2 s"}
    assert contents(config.data) == before


def test_what_the_masks_of_finished_runs_keep(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "seeds=[0, 1]")
    write_study(config)
    assert "Masks on" not in shown(status_table(config))
    first, second = (job(config, "ticket", seed=seed).files for seed in (0, 1))
    change_manifest(
        first,
        effective={"actor": 0.81234, "critic": 0.9},
        units={"actor": [10, 16], "critic": [31, 32]},
        rank_one={"actor": 0.5},
    )
    change_manifest(second, effective={"actor": 0.8, "critic": 0.9}, units={"actor": [13, 16]})  # of other versions
    lines = shown(status_table(config), width=80).splitlines()
    assert max(map(len, lines)) <= 120 and [line.rstrip() for line in lines[-3:]] == [
        "arm           network  effective  units in use  rank one",
        "magnitude-80  actor       80.6 %      12 of 16    50.0 %",
        "magnitude-80  critic      90.0 %      31 of 32         \N{EN DASH}",
    ]
    assert lines[-4].startswith("Masks on Pendulum-v1, means over seeds: effective sparsity, hidden units in use")


def test_untrained_policies(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)

    def line() -> list[str]:
        return shown(status_table(config), width=500).splitlines()[2].rstrip().split(maxsplit=4)

    assert line() == ["Pendulum-v1", "\N{EN DASH}", "untrained", "to", "do"]
    made = write_untrained(config, -1.0, policies=2)
    assert line()[2:] == ["untrained", "interrupted", "continues after 1 of 2 when the study is run again"]
    write_untrained(config, -1.0, -2.0)
    assert line()[2:] == ["untrained", "done", "2 policies"]
    made.untrained_files.scores.write_text("{}")
    assert line()[2:4] == ["untrained", "damaged"] and "again" in line()[4]
    assert [problem.file for problem in examine(config).problems] == [made.untrained_files.scores]
    made.untrained_files.scores.unlink()
    assert examine(config).problems == ()
    made.log.touch()  # a worker has begun
    assert [problem.why for problem in examine(config).problems] == ["it is missing"]


def test_arms_of_another_sparsity_are_shown_too(tmp_path: Path) -> None:
    write_study(tiny_config(tmp_path))
    assert "magnitude-80 0" in status(tiny_config(tmp_path, "pruning.sparsity=0.5"))


def test_each_ticket_of_pruning_has_its_controls_below_it_and_nothing_that_never_began(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "pruning.controls=[shuffled, random]")
    write_study(config)
    begun = ["taylor-80-2x8", "random-of-magnitude-80", "random-of-taylor-80-2x8", "earlier-50"]
    for name in begun:
        Store(config.data).run("Pendulum-v1", 0, name).folder.mkdir()
    assert [name.partition(" ")[0] for name in status(config)] == [
        *("dense", "magnitude-80", "random-of-magnitude-80", "taylor-80-2x8", "random-of-taylor-80-2x8"),
        "earlier-50",
    ]


def test_a_damaged_mask_of_a_control_is_found_under_its_published_name(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    write_study(config)
    published = config.data / "masks" / "Pendulum-v1_seed_0_gradient_random.pkl"
    write_bytes(published, b"no mask")
    assert published in [problem.file for problem in examine(config).problems]


def test_failed(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    dense = write_dense(config)
    change_manifest(dense.files, status="failed", error="it [/]has[red] brackets\nand lines", files={})
    assert status(config)["dense 0"] == "failed  it [/]has[red] brackets"


def test_running(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    progress = {"pid": os.getpid(), "env_steps": 1500, "total_steps": 3000, "steps_per_second": 50.0}
    write_bytes(job(config, "dense").files.progress, json.dumps(progress).encode())
    assert status(config)["dense 0"] == "running  1,500 of 3,000 steps, 30 s left"
    write_bytes(job(config, "dense").files.progress, json.dumps(progress | {"phase": "compiling"}).encode())
    assert status(config)["dense 0"] == "running  compiling, 1,500 of 3,000 steps"


def test_running_on_another_machine(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    files = job(config, "dense").files
    progress = {"pid": 2**30, "env_steps": 1500, "total_steps": 3000, "steps_per_second": 50.0}
    write_bytes(files.progress, json.dumps(progress).encode())
    files.lock.parent.mkdir(parents=True)
    beat = leased_by(files.lock)
    assert status(config)["dense 0"] == "running  1,500 of 3,000 steps, 30 s left, on node7 (Slurm job 12)"
    beat.unlink()  # it has left
    assert status(config)["dense 0"] == "to do"


def test_cut_short(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    files = job(config, "dense").files
    write_bytes(files.metrics, b"")
    # Its process has gone; numbers as large as this are not given out.
    gone = {"pid": 2**30, "env_steps": 1500, "total_steps": 3000, "steps_per_second": 50.0}
    write_bytes(files.progress, json.dumps(gone).encode())
    assert status(config)["dense 0"].startswith("interrupted")


@pytest.mark.parametrize("content", [b"", b"[1]", b"null", b'{"pid": "x"}', b'{"env_steps": 1}'])
def test_progress_that_cannot_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    config = tiny_config(tmp_path)
    write_bytes(job(config, "dense").files.progress, content)
    assert status(config) == {"dense 0": "to do"}


def test_it_ends_with_a_summary(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "seeds=[0, 1, 2, 3]")

    def summary() -> str:
        return shown(status_table(config)).splitlines()[-1]

    assert summary() == "0 of 4 runs done, 4 to do. Untrained policies: 1 task to do."
    made = write_untrained(config, -1.0, -2.0)
    assert summary() == "0 of 4 runs done, 4 to do."
    write_dense(config)
    write_mask(config)
    change_manifest(write_dense(config, seed=1).files, status="failed", error="no memory", files={})
    progress = {"pid": os.getpid(), "env_steps": 1500, "total_steps": 3000, "steps_per_second": 50.0}
    write_bytes(job(config, "dense", seed=2).files.progress, json.dumps(progress).encode())
    assert summary() == "1 of 8 runs done, 4 to do, 1 failed, 1 not run, 1 running."
    made.untrained_files.scores.write_text("{}")
    assert summary().endswith("1 running. Untrained policies: 1 task damaged.")


def test_runs_of_other_settings_are_told_below_the_table(tmp_path: Path) -> None:
    write_study(tiny_config(tmp_path, "sac.batch_size=64"))
    lines = shown(status_table(tiny_config(tmp_path)), width=500).splitlines()
    assert lines[-2].startswith("Pendulum-v1: 2 runs were trained with other settings than these (sac.batch_size: ")
    assert "trained with other settings" not in shown(status_table(tiny_config(tmp_path, "sac.batch_size=64")))


def test_an_unfinished_run_of_other_settings_is_told_too(tmp_path: Path) -> None:
    write_record(job(tiny_config(tmp_path, "sac.batch_size=64"), "dense"), 100)
    assert "1 run was trained with other settings" in shown(status_table(tiny_config(tmp_path)), width=500)


def test_damaged(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    write_bytes(write_dense(config).files.manifest, b"{")
    assert status(config)["dense 0"].startswith("damaged")


def test_a_dense_run_without_its_replay_is_to_do_again(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    shutil.rmtree(write_dense(config).files.replay)
    assert status(config)["dense 0"].startswith("to repeat")


def test_no_data_folder_can_be_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StudyError, match="is a file"):
        status_table(tiny_config(tmp_path, f"data={tmp_path / 'file' / 'data'}"))
