"""Runs that are trained again: their results are repaired or kept, never replaced. Nothing is trained here."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlottery.config import Config, load_config
from rlottery.errors import DivergedError, StoppedError, StudyError
from rlottery.pruning.mask_file import mask_to_bytes
from rlottery.storage.disk import write_bytes
from rlottery.storage.manifests import Manifest, file_entry, read_manifest, write_manifest
from rlottery.storage.paths import RunFiles
from rlottery.storage.temporary_files import remove_leftovers
from rlottery.study.execution.endings import remarks
from rlottery.study.planning.arms import arms_of
from rlottery.study.planning.earlier import earlier_of, recorded_rewind_steps
from rlottery.study.planning.jobs import STAGES, Job, list_jobs
from rlottery.study.planning.plan import JobState
from rlottery.study.stages.failed_run import record_failure
from rlottery.study.stages.retraining import train_in_place_or_aside
from rlottery.study.stages.run_record import RunResult, record_run
from rlottery.study.status import status_table
from rlottery.study.verify import examine_run
from tests.study.studies import (
    TINY,
    change_manifest,
    contents,
    job,
    mask_for,
    planned_runs,
    shown,
    tiny_config,
    write_dense,
    write_mask,
    write_record,
    write_study,
    write_ticket,
)

OLD, NEW = {"jax": "0.9.2", "kernels": "avx2"}, {"jax": "0.10.2", "kernels": "off (no compiler)"}
CHANGED = "jax from 0.9.2 to 0.10.2, kernels from avx2 to off"
Train = Callable[[RunFiles], None]


@pytest.fixture(autouse=True)
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """Sets the versions of now: new ones at first."""

    def use(versions: dict[str, str]) -> None:
        monkeypatch.setattr("rlottery.study.planning.versions_now.worker_versions", lambda device: versions)
        for module in ("run_record", "retraining"):
            monkeypatch.setattr(f"rlottery.study.stages.{module}.versions", lambda: versions)

    use(NEW)
    return use


@pytest.fixture
def study(tmp_path: Path) -> Config:
    """A finished study of two arms, of which the config lists one."""
    config = tiny_config(tmp_path)
    write_study(tiny_config(tmp_path, "pruning.sparsity=0.5"))
    write_study(config)
    for folder in (config.data / "runs").glob("*/*/*"):
        change_manifest(RunFiles(folder), versions=OLD)
    return config


def trained(of: Job, *, bits: int = 0, names: tuple[str, ...] = ()) -> Train:
    """Training that writes the files of `studies.write_dense` and `write_ticket`, with other bits if `bits` isn't 0."""
    ran = manifest_of(of)["fingerprint"] if read_manifest(of.files) else None
    fingerprint = ran or {"version": 1}
    made = tiny_config(of.config.data.parent / f"made-{bits}")
    write_dense(made, trained=bits)
    source = job(made, "dense").files.folder
    if of.stage == "ticket":
        write_mask(made)
        write_ticket(made)
        source = job(made, "ticket").files.folder
        if bits:
            write_bytes(source / "agent.safetensors", b"other bits")
    there = [str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()]
    names = names or tuple(name for name in there if name != "manifest.json")

    def train(files: RunFiles) -> None:
        def work(checkpoints: object) -> RunResult:
            for name in names:
                (files.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source / name, files.folder / name)
            # Metrics contain times, so they always differ.
            write_bytes(files.metrics, files.metrics.read_bytes() + b'{"kind": "losses", "env_steps": 300}\n')
            return RunResult(names, {"replay": "saved"} if of.stage == "dense" else {})

        record_run(of, files, fingerprint, {}, work)

    return train


def never(files: RunFiles) -> None:
    raise AssertionError("it is trained")


def again(of: Job, train: Train) -> None:
    fingerprint = plan_fingerprint(of)
    train_in_place_or_aside(of, earlier_of(of), fingerprint, train)


def plan_fingerprint(of: Job) -> dict[str, Any]:
    manifest = read_manifest(of.files.aside) or read_manifest(of.files)
    return {"version": 1} if manifest is None else manifest["fingerprint"]


def manifest_of(of: Job) -> Manifest:
    manifest = read_manifest(of.files)
    assert manifest is not None
    return manifest


def kept(config: Config) -> dict[str, Any]:
    """Everything in the data folder but what was trained aside."""
    return {path: value for path, value in contents(config.data).items() if "/retrained/" not in path}


def write_config(folder: Path) -> Path:
    path = folder / "config.yaml"
    path.write_text(TINY.replace("pruning: {controls: [], num_gradient_batches: 2, gradient_batch_size: 8}\n", ""))
    return path


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


@pytest.mark.parametrize("name", ["agent.safetensors", "initial.safetensors", "replay/rewards.npy", "metrics.jsonl"])
def test_the_same_bits_repair_what_was_damaged_and_nothing_else(study: Config, name: str) -> None:
    dense = job(study, "dense")
    before, manifest = kept(study), manifest_of(dense)
    damage(dense.files.folder / name)
    again(dense, trained(dense))
    after = kept(study)
    changed = {path.partition("dense/")[2] for path in before | after if before.get(path) != after.get(path)}
    assert changed == {name, "manifest.json"}
    if name == "metrics.jsonl":
        manifest["files"][name] = file_entry(dense.files.metrics)
    assert manifest_of(dense) == manifest and not dense.files.aside.folder.exists()
    assert [t.state for t in planned_runs(study, "magnitude", STAGES)] == [JobState.FOUND] * 3


@pytest.mark.parametrize("name", ["agent.safetensors", "initial.safetensors", "replay", "metrics.jsonl"])
def test_other_bits_replace_nothing(study: Config, name: str, use: Callable[[dict[str, str]], None]) -> None:
    dense = job(study, "dense")
    shutil.rmtree(dense.files.replay) if name == "replay" else damage(dense.files.folder / name)
    before = kept(study)
    with pytest.raises(StudyError) as raised:
        again(dense, trained(dense, bits=1))
    message = str(raised.value)
    assert "differs from the earlier result in: agent.safetensors" in message and CHANGED in message
    assert str(job(study, "ticket").files.folder) in message and "magnitude-50" in message  # not listed by the config
    assert "Restore these versions" in message and "data=ANOTHER_FOLDER" in message
    assert f"all other folders in {dense.files.folder.parent}. Then" in message
    assert kept(study) == before
    # The next command says so before it trains anything, unless the versions are others.
    with pytest.raises(StudyError, match="was trained again and differs"):
        planned_runs(study, "magnitude", STAGES)
    use(OLD)
    assert planned_runs(study, "magnitude", STAGES)[0].state is JobState.WAITING
    again(dense, trained(dense))
    assert [t.state for t in planned_runs(study, "magnitude", STAGES)] == [JobState.FOUND] * 3


@pytest.mark.parametrize("lost", ["folder", "manifest"])
def test_without_a_manifest_what_was_made_from_the_run_is_compared(study: Config, lost: str) -> None:
    dense = job(study, "dense")
    same, other = trained(dense), trained(dense, bits=1)
    shutil.rmtree(dense.files.folder) if lost == "folder" else damage(dense.files.manifest)
    before = kept(study)
    with pytest.raises(StudyError, match="agent.safetensors") as raised:
        train_in_place_or_aside(dense, earlier_of(dense), {"version": 2}, other)
    assert CHANGED in str(raised.value)  # by the versions of the tickets
    assert kept(study) == before
    again(dense, same)
    assert [t.state for t in planned_runs(study, "magnitude", STAGES)] == [JobState.FOUND] * 3


def test_a_result_that_nobody_can_read_or_needs_is_replaced_and_that_is_said(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    dense = write_dense(config)
    change_manifest(dense.files, versions=OLD)
    damage(dense.files.metrics)
    again(dense, trained(dense, bits=1))
    assert f"replaced an earlier result that could no longer be read, and from which nothing was made ({CHANGED})" in (
        remarks(dense)
    )
    assert planned_runs(config, "magnitude", ("dense",))[0].state is JobState.FOUND
    assert manifest_of(dense)["versions"] == NEW


def test_a_result_that_can_be_read_is_kept_though_nothing_was_made_from_it(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    dense = write_dense(config)
    shutil.rmtree(dense.files.replay)
    before = kept(config)
    with pytest.raises(StudyError, match="No version that is recorded differs"):
        again(dense, trained(dense, bits=1))
    assert kept(config) == before


def test_a_ticket_keeps_its_score(study: Config) -> None:
    ticket = job(study, "ticket")
    damage(ticket.files.agent)
    before = kept(study)
    with pytest.raises(StudyError, match="magnitude-80 was trained again and differs") as raised:
        again(ticket, trained(ticket, bits=1))
    assert f"delete everything in {ticket.files.folder} but 'retrained'. Then" in str(raised.value)
    assert kept(study) == before


@pytest.mark.parametrize("how", ["damaged", "deleted"])
def test_a_ticket_without_a_manifest_is_compared_with_the_agent_that_it_has(study: Config, how: str) -> None:
    ticket = job(study, "ticket")
    same, other = trained(ticket), trained(ticket, bits=1)
    damage(ticket.files.manifest) if how == "damaged" else ticket.files.manifest.unlink()
    before, fingerprint = kept(study), {"version": 1}
    with pytest.raises(StudyError, match="magnitude-80 was trained again and differs"):
        train_in_place_or_aside(ticket, earlier_of(ticket), fingerprint, other)
    assert kept(study) == before
    shutil.rmtree(ticket.files.aside.folder)
    train_in_place_or_aside(ticket, earlier_of(ticket), fingerprint, same)
    assert manifest_of(ticket)["status"] == "done"
    agent = ticket.files.agent
    assert agent.read_bytes() == before[str(agent.relative_to(study.data))][0]


def test_a_first_run_and_a_failed_one_are_trained_in_place(tmp_path: Path) -> None:
    dense = job(tiny_config(tmp_path), "dense")
    seen: list[RunFiles] = []
    again(dense, seen.append)
    write_dense(dense.config)
    change_manifest(dense.files, status="failed", files={})
    again(dense, seen.append)
    assert seen == [dense.files, dense.files]


@pytest.mark.parametrize("stage", ["dense", "ticket"])
def test_the_new_result_takes_its_place_once_the_earlier_ones_are_discarded(study: Config, stage: str) -> None:
    of, dense = job(study, stage), job(study, "dense")
    damage(of.files.agent)
    with pytest.raises(StudyError, match="Discard the earlier results, and keep the new one"):
        again(of, trained(of, bits=1))
    new = of.files.aside.agent.read_bytes()
    for path in of.files.folder.iterdir():
        if path.name != "retrained":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for folder in dense.files.folder.parent.iterdir() if stage == "dense" else ():
        if folder != dense.files.folder:
            shutil.rmtree(folder)
    assert [t.state for t in planned_runs(study, "magnitude", (stage,))] == [JobState.WAITING]
    again(of, never)
    assert of.files.agent.read_bytes() == new and not of.files.aside.folder.exists()
    assert [t.state for t in planned_runs(study, "magnitude", (stage,))] == [JobState.FOUND]


def test_a_crash_while_it_is_trained_aside_makes_nothing_forgotten(study: Config) -> None:
    ticket = job(study, "ticket")
    ticket.files.manifest.unlink()
    before = kept(study)
    record_failure(ticket, "the worker was killed by SIGSEGV")
    assert kept(study) == before and earlier_of(ticket) is not None
    shutil.rmtree(ticket.files.folder)
    record_failure(ticket, "the worker was killed by SIGSEGV")
    assert manifest_of(ticket)["status"] == "failed"


def test_files_that_another_process_has_open_on_a_network_file_system_fail_no_run(
    study: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense = job(study, "dense")
    damage(dense.files.agent)
    train = trained(dense)
    trained(dense, bits=1)(dense.files.aside)  # it is discarded, and trained again

    def busy(folder: Path, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise OSError(errno.ENOTEMPTY, "Directory not empty")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", busy)
        train_in_place_or_aside(dense, earlier_of(dense), manifest_of(dense)["fingerprint"], train)
    left = list(dense.files.folder.glob(".retrained-*"))
    assert len(left) == 2 and not dense.files.aside.folder.exists()
    assert [t.state for t in planned_runs(study, "magnitude", STAGES)] == [JobState.FOUND] * 3
    remove_leftovers([dense.files.folder], now=1e12)
    assert not any(map(Path.exists, left))


def test_status_and_verify_say_what_waits_aside(study: Config) -> None:
    def said() -> tuple[str, str]:
        fixes = [problem.fix for problem in examine_run(ticket.files)[1]]
        return shown(status_table(study), width=1000), " ".join(fixes)

    ticket = job(study, "ticket")
    damage(ticket.files.agent)
    assert "when the study is run again" in said()[0] and "The run is repeated" in said()[1]
    trained(ticket)(ticket.files.aside)
    assert "trained again" in said()[0] and "not compared yet" in said()[0] and "differs" not in said()[0]
    assert "The run was trained again. That is compared" in said()[1]
    shutil.rmtree(ticket.files.aside.folder)
    trained(ticket, bits=1)(ticket.files.aside)
    assert "differs" in said()[0] and "differs from its earlier result" in said()[1]
    assert "repeated" not in said()[1]
    damage(ticket.files.aside.agent)
    assert any(problem.file == ticket.files.aside.agent for problem in examine_run(ticket.files)[1])
    shutil.rmtree(ticket.files.aside.folder)
    trained(ticket)(ticket.files.aside)
    shutil.copy(ticket.files.aside.agent, ticket.files.agent)  # killed before the folder was deleted
    assert "trained again" not in said()[0]


class TestDiverged:
    @pytest.fixture
    def dense(self, study: Config) -> Job:
        dense = job(study, "dense")
        write_bytes(dense.files.diverged, b"evidence")
        files = {path.name: file_entry(path) for path in (dense.files.metrics, dense.files.diverged)}
        change_manifest(dense.files, status="diverged", error="Not finite.", files=files)
        damage(dense.files.metrics)
        return dense

    def test_another_ending_is_another_result(self, dense: Job) -> None:
        before = kept(dense.config)
        with pytest.raises(StudyError, match=r"how it ended \(diverged, and now done\)"):
            again(dense, trained(dense))
        assert kept(dense.config) == before

    def test_the_same_ending_repairs_it(self, dense: Job) -> None:
        def diverge(files: RunFiles) -> None:
            def work(checkpoints: object) -> RunResult:
                write_bytes(files.metrics, b"")
                raise DivergedError("Not finite.", {"data.rewards": np.ones(2)})

            record_run(dense, files, plan_fingerprint(dense), {}, work)

        with pytest.raises(StudyError, match=r"diverged\.safetensors"):
            again(dense, diverge)  # on other data
        evidence = file_entry(dense.files.aside.diverged)
        shutil.copy(dense.files.aside.diverged, dense.files.diverged)
        entries = manifest_of(dense)["files"]
        change_manifest(dense.files, files=entries | {"diverged.safetensors": evidence})
        shutil.rmtree(dense.files.aside.folder)
        with pytest.raises(DivergedError):
            again(dense, diverge)
        planned = planned_runs(dense.config, "magnitude", ("dense",))
        assert planned[0].state is JobState.DIVERGED and not dense.files.aside.folder.exists()


class TestInterrupted:
    def test_while_files_are_put_in_place(self, study: Config, monkeypatch: pytest.MonkeyPatch) -> None:
        dense = job(study, "dense")
        again_trained = trained(dense)
        before, replace, calls = kept(study), Path.replace, [0]

        def cut(path: Path, target: Path) -> Path:
            if "retrained" in path.parts:
                calls[0] += 1
                if calls[0] % 2:
                    raise KeyboardInterrupt
            return replace(path, target)

        shutil.rmtree(dense.files.folder)
        again(dense, lambda files: again_trained(files))  # undisturbed, for what it looks like
        whole = {path: content for path, (content, _) in kept(study).items() if "manifest.json" not in path}
        assert whole.keys() == {path for path in before if "manifest.json" not in path}
        shutil.rmtree(dense.files.folder)
        again_trained(dense.files.aside)
        monkeypatch.setattr(Path, "replace", cut)
        for _ in range(20):
            try:
                again(dense, never)
                break
            except KeyboardInterrupt:
                assert not dense.files.manifest.exists()
        assert calls[0] > 8
        assert whole == {path: content for path, (content, _) in kept(study).items() if "manifest.json" not in path}

    def test_training_continues_aside_and_nothing_is_lost_meanwhile(self, study: Config) -> None:
        dense = job(study, "dense")
        damage(dense.files.agent)
        before, seen = kept(study), []

        def stop(files: RunFiles) -> None:
            seen.append(files)
            write_bytes(files.checkpoint / "something", b"")
            raise StoppedError("Stopped.")

        for _ in range(2):
            with pytest.raises(StoppedError):
                again(dense, stop)
        assert seen == [dense.files.aside] * 2 and (dense.files.aside.checkpoint / "something").exists()
        assert kept(study) == before

    @pytest.mark.parametrize("restored", [False, True])
    def test_it_restarts_once_the_versions_are_restored(
        self, study: Config, restored: bool, use: Callable[[dict[str, str]], None]
    ) -> None:
        dense = job(study, "dense")
        damage(dense.files.agent)
        write_record(dense, 100, sittings=[{"started": 0.0, "env_steps": 0, "notes": [], "versions": NEW}])
        dense.files.checkpoint.rename((dense.files.aside.folder.mkdir(), dense.files.aside.checkpoint)[1])
        use(OLD if restored else NEW)
        found: list[bool] = []

        def look(files: RunFiles) -> None:
            found.append(files.checkpoint.exists())
            raise StoppedError("Stopped.")

        with pytest.raises(StoppedError):
            again(dense, look)
        assert found == [not restored]


def test_a_round_of_iterative_pruning_is_compared_with_what_the_next_round_recorded(tmp_path: Path) -> None:
    """Its own folder is gone; the next round's mask, and a control that starts from its agent remain."""
    arms = (
        "arms=[{name: imp, criterion: magnitude, sparsity: 0.75, schedule: {iterative: {rate: 0.5}}, rewind: none}, "
        "{name: other, control: random, of: imp}]"
    )
    config = load_config(write_config(tmp_path), [f"data={tmp_path / 'data'}", arms])
    jobs = {found.arm_name: found for found in list_jobs(config, arms_of(config, None), ("ticket",))}
    assert list(jobs) == ["imp.round-1", "imp", "other"]
    write_dense(tiny_config(tmp_path))
    mask = mask_for(
        job(tiny_config(tmp_path), "mask"), {"inputs": {"agent": "a" * 64, "mask": "b" * 64}, "pruning": {}}
    )
    write_bytes(jobs["imp"].files.mask, mask_to_bytes(mask))
    earlier = earlier_of(jobs["imp.round-1"])
    assert earlier is not None
    assert earlier.digests == {"agent.safetensors": {"a" * 64}} and earlier.dependents == (jobs["imp"].files.folder,)
    manifest: dict[str, Any] = {"inputs": {"initial": "c" * 64, "start": "d" * 64}, "arm": {"rewind": "none"}}
    for name in ("other", "imp"):
        arm = jobs[name].ticket_arm
        write_manifest(
            jobs[name].files,
            {"format_version": 2, "status": "done", "fingerprint": manifest, "files": {}, "recipe": arm.as_dict()},
        )
    earlier = earlier_of(jobs["imp.round-1"])
    assert earlier is not None and earlier.digests == {"agent.safetensors": {"a" * 64, "d" * 64}}
    assert len(earlier.dependents) == 2
    shutil.rmtree(jobs["imp"].dense_files.folder)
    earlier = earlier_of(jobs["imp"].dense)
    assert earlier is not None and earlier.digests == {"initial.safetensors": {"c" * 64}}


def test_rewind_points_that_the_config_no_longer_lists_are_saved_again(study: Config) -> None:
    dense, ticket = job(study, "dense"), job(study, "ticket")
    write_bytes(dense.files.rewind_point(120), b"agent")
    point, files = file_entry(dense.files.rewind_point(120)), manifest_of(dense)["files"]
    change_manifest(dense.files, files=files | {"rewind_000000120.safetensors": point})
    assert recorded_rewind_steps(earlier_of(dense)) == {120}
    fingerprint = manifest_of(ticket)["fingerprint"]
    inputs = fingerprint["inputs"] | {"start": "0" * 64}
    change_manifest(ticket.files, fingerprint=fingerprint | {"inputs": inputs, "arm": {"rewind": {"step": 150}}})
    shutil.rmtree(dense.files.folder)
    assert recorded_rewind_steps(earlier_of(dense)) == {150}
