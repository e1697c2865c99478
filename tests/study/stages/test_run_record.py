"""What is recorded about a run, however its work ends. Nothing is trained here."""

import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rlottery.errors import DivergedError, MaskError, StoppedError, TaskError
from rlottery.storage.disk import read_arrays, write_bytes
from rlottery.storage.manifests import Manifest, file_entry, read_manifest
from rlottery.study.planning.jobs import Job
from rlottery.study.stages.run_record import RunFacts, RunResult, record_run
from rlottery.training.checkpoints import Checkpoints
from tests.study.studies import job, tiny_config

KNOWN: RunFacts = {"criterion": "magnitude", "round_of": "imp"}


@pytest.fixture
def ticket(tmp_path: Path) -> Job:
    return job(tiny_config(tmp_path), "ticket")


def recorded(ticket: Job, work: Callable[[Checkpoints], RunResult]) -> Manifest | None:
    """The manifest of a run that had a checkpoint, and the results of an earlier try."""
    write_bytes(ticket.files.manifest, b"of the try before")
    write_bytes(ticket.files.diverged, b"of the try before")
    write_bytes(ticket.files.metrics, b"")
    write_bytes(ticket.files.checkpoint / "step_1.safetensors", b"")
    record_run(ticket, ticket.files, {"version": 1}, KNOWN, work)
    return read_manifest(ticket.files)


def raises(error: BaseException) -> Callable[[Checkpoints], RunResult]:
    def work(checkpoints: Checkpoints) -> RunResult:
        raise error

    return work


LINE = raises.__code__.co_firstlineno + 2


def test_a_run_that_is_done_has_its_files_and_facts(ticket: Job) -> None:
    def work(checkpoints: Checkpoints) -> RunResult:
        assert not ticket.files.manifest.exists() and not ticket.files.diverged.exists()
        write_bytes(ticket.files.agent, b"agent")
        return RunResult([ticket.files.agent.name], {"sparsity": {"actor": 0.5}})

    manifest = recorded(ticket, work)
    assert manifest is not None and manifest["status"] == "done"
    assert manifest["files"] == {"agent.safetensors": file_entry(ticket.files.agent)}
    assert (manifest["criterion"], manifest["sparsity"]) == ("magnitude", {"actor": 0.5})
    assert (manifest["stage"], manifest["arm"], manifest["seed"]) == ("ticket", "magnitude-80", 0)
    assert manifest["fingerprint"] == {"version": 1} and len(manifest["sittings"]) == 1
    assert manifest["sittings"][0].get("versions") == manifest["versions"]
    assert not ticket.files.checkpoint.exists()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MaskError("no mask"), "no mask"),
        (ValueError("boom"), "ValueError: boom, in "),
        (SystemExit(0), "The environment of Pendulum-v1, or a library, tried to end the process with sys.exit(0) in "),
        (KeyboardInterrupt("esc"), "The environment of Pendulum-v1, or a library, raised KeyboardInterrupt: esc in "),
    ],
)
def test_a_failed_run_has_its_error_and_keeps_its_checkpoint(ticket: Job, error: BaseException, message: str) -> None:
    with pytest.raises(type(error) if isinstance(error, Exception) else TaskError):
        recorded(ticket, raises(error))
    manifest = read_manifest(ticket.files)
    assert manifest is not None and manifest["status"] == "failed"
    assert manifest["error"].removesuffix(f"{__file__}, line {LINE}") == message
    assert manifest["round_of"] == "imp" and "criterion" not in manifest and manifest["files"] == {}
    assert ticket.files.checkpoint.exists()


def test_a_diverged_run_has_what_it_diverged_on(ticket: Job) -> None:
    with pytest.raises(DivergedError):
        recorded(ticket, raises(DivergedError("Not finite.", {"data.rewards": np.ones(2)})))
    manifest = read_manifest(ticket.files)
    assert manifest is not None and manifest["status"] == "diverged"
    assert manifest["error"].startswith("Not finite.\n") and str(ticket.files.diverged) in manifest["error"]
    assert manifest["files"].keys() == {"metrics.jsonl", "diverged.safetensors"}
    assert manifest["criterion"] == "magnitude" and "replay" not in manifest  # only dense runs have one
    assert read_arrays(ticket.files.diverged)["data.rewards"].tolist() == [1.0, 1.0]
    assert not ticket.files.checkpoint.exists()


@pytest.mark.parametrize("error", [StoppedError("Stopped."), OSError(errno.ENOSPC, "full")])
def test_a_run_that_can_continue_has_no_manifest(ticket: Job, error: Exception) -> None:
    with pytest.raises(type(error)):
        recorded(ticket, raises(error))
    assert read_manifest(ticket.files) is None
    assert ticket.files.checkpoint.exists()
