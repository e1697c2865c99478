"""What a command, `status` and reports say about versions that differ. Nothing is trained here."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rlottery.config import Config
from rlottery.errors import StudyError
from rlottery.report.collect import collect
from rlottery.report.version_lines import change_lines
from rlottery.storage.made_with import MadeWith, changes, session_changes
from rlottery.storage.manifests import Session
from rlottery.storage.paths import Store
from rlottery.study.planning.other_versions import report_other_versions
from rlottery.study.status import status_table
from tests.study.studies import change_manifest, contents, job, shown, tiny_config, write_record, write_study

OLD = {"jax": "0.9.2", "kernels": "avx2", "xla_flags": ""}
NEW = {"jax": "0.10.2", "kernels": "avx2", "xla_flags": "--xla_cpu_multi_thread_eigen=false"}
CHANGED = "jax from 0.9.2 to 0.10.2"


def session(versions: dict[str, str]) -> Session:
    return {"started": 0.0, "env_steps": 0, "notes": [], "versions": versions}


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A finished study of old versions."""
    monkeypatch.setattr("rlottery.study.planning.versions_now.worker_versions", lambda device: NEW)
    config = tiny_config(tmp_path)
    write_study(config)
    for stage in ("dense", "ticket"):
        change_manifest(job(config, stage).files, versions=OLD, sittings=[session(OLD)])
    return config


def lines(config: Config, *stages: str) -> list[str]:
    found: list[str] = []
    report_other_versions(config, [job(config, stage) for stage in stages], found.append)
    return found


def test_what_counts_as_a_change() -> None:
    assert changes(OLD, NEW) == (CHANGED,)
    assert changes({"kernels": "off (no compiler)"}, {"kernels": "off (a crash)"}) == ()
    assert changes({"kernels": "avx2"}, {"kernels": "off (a crash)"}) == ("kernels from avx2 to off",)
    assert changes({"kernels": "avx2"}, {"kernels": "avx2 version 3"}) == ("kernels from avx2 to avx2 version 3",)
    flags = {"xla_flags": "--xla_cpu_enable_fast_math=true --xla_cpu_multi_thread_eigen=false"}
    assert changes(OLD, flags) == ("xla_flags from none to --xla_cpu_enable_fast_math=true",)
    other = {"python": "3.12", "rlottery": "1", "commit": "abc", "metaworld": "3.1.1"}
    assert changes(OLD | {"python": "3.11", "rlottery": "0", "commit": "def"}, OLD | other) == ()
    assert changes({}, NEW) == ()
    assert changes({"code of my:Env": "1"}, {"code of my:Env": "2"}) == ("code of my:Env from 1 to 2",)
    assert session_changes([OLD, NEW, OLD]) == (CHANGED, "jax from 0.10.2 to 0.9.2")


def test_runs_that_are_trained_again_say_so_before_they_are(study: Config) -> None:
    shutil.rmtree(job(study, "dense").files.replay)
    (line, *_) = lines(study, "dense", "mask", "ticket")
    assert line.startswith(f"1 job will be trained again with other versions than before: {CHANGED} (Pendulum-v1 seed")
    assert "no finished result is replaced" in line
    shutil.rmtree(job(study, "dense").files.folder)
    assert lines(study, "dense")[0] == line  # then by the versions of the ticket


def test_a_dense_agent_that_is_trained_again_for_a_rewind_point_counts_too(
    study: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewind, asked = replace(job(study, "dense"), stage="rewind"), []
    monkeypatch.setattr(
        "rlottery.study.planning.versions_now.worker_versions", lambda device: asked.append(device) or NEW
    )
    found: list[str] = []
    report_other_versions(study, [rewind, job(study, "mask"), job(study, "ticket")], found.append)
    assert found[0].startswith(f"1 job will be trained again with other versions than before: {CHANGED} (Pendulum-v1")
    assert len(asked) == 1  # and not once for each job


def test_interrupted_runs_and_tickets_of_other_dense_agents(study: Config) -> None:
    shutil.rmtree(job(study, "ticket").files.folder)
    (line,) = lines(study, "mask", "ticket")
    assert line.startswith(
        f"2 jobs will be done with other versions than the dense agents that they are compared with: {CHANGED}"
    )
    other = tiny_config(study.data.parent, "seeds=[1]")
    write_record(job(other, "dense", seed=1), 100, sittings=[session(NEW), session(OLD)])
    found: list[str] = []
    report_other_versions(other, [job(other, "dense", seed=1)], found.append)
    assert found[0].startswith(f"1 job will continue with other versions than before: {CHANGED}")


def test_they_are_refused_where_the_config_says_so(study: Config) -> None:
    refusing = study.model_copy(update={"other_versions": "refuse"})
    shutil.rmtree(job(study, "ticket").files.folder)
    before = contents(study.data)
    with pytest.raises(StudyError, match=f"(?s)other_versions: refuse.*{CHANGED}.*Restore.*other_versions=report"):
        lines(refusing, "ticket")
    assert contents(study.data) == before
    change_manifest(job(study, "dense").files, versions=NEW)
    assert lines(refusing, "ticket") == []


def made(seed: int, arm: str, *sessions: dict[str, str]) -> MadeWith:
    return MadeWith(seed, arm, sessions[-1], sessions)


def test_lines_group_runs_of_the_same_change() -> None:
    runs = [made(seed, arm, OLD, *([NEW] * (arm != "dense"))) for seed in range(4) for arm in ("dense", "a")]
    within, between = change_lines("T", runs)
    assert within.startswith(f"On T, 4 runs continued with other versions than before: {CHANGED} (seed 0 a, seed 1 a, ")
    assert between.startswith(
        f"On T, 4 runs and the dense agents of the same seeds were made with different versions: {CHANGED}"
    )
    assert f"{CHANGED} (seed 0 a, seed 1 a, seed 2 a and 1 more)" in between
    assert change_lines("T", [made(0, "dense", OLD), made(0, "a", OLD), made(1, "a", NEW)]) == []


def test_status_and_reports_say_it(study: Config) -> None:
    def said() -> tuple[str, Any]:
        return shown(status_table(study), width=1000), collect(Store(study.data), study).verdicts.deviations

    assert "versions" not in "".join(map(str, said()))
    change_manifest(job(study, "ticket").files, versions=NEW, sittings=[session(OLD), session(NEW)])
    for text in map(str, said()):
        assert f"On Pendulum-v1, 1 run continued with other versions than before: {CHANGED}" in text
        assert f"were made with different versions: {CHANGED} (seed 0 magnitude-80)" in text
