"""Masks that finished results were made with are kept. Nothing is trained here."""

from dataclasses import replace
from pathlib import Path

import pytest

from rlottery.config import Config
from rlottery.errors import StudyError
from rlottery.pruning.mask_file import mask_to_bytes, read_mask
from rlottery.storage.disk import write_bytes
from rlottery.study.planning.earlier_masks import check_nothing_needs_old_mask, check_ticket_has_mask, keep_ticket_of
from rlottery.study.planning.inputs import expected_mask_fingerprint
from rlottery.study.planning.jobs import STAGES
from rlottery.study.planning.plan import JobState
from tests.study.studies import (
    change_manifest,
    contents,
    job,
    mask_for,
    planned_runs,
    tiny_config,
    write_dense,
    write_mask,
    write_study,
    write_ticket,
)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    config = tiny_config(tmp_path)
    write_study(config)
    return config


def test_a_mask_of_another_agent_is_kept_for_its_ticket(config: Config) -> None:
    """Also if the other agent's mask would have the same content, so that the ticket's inputs are the same."""
    write_dense(config, trained=1)  # its initial weights are the same, and the mask follows from them
    before = contents(config.data)
    with pytest.raises(
        StudyError, match=r"(?s)mask\.pkl was made from something else:\n  inputs\.agent: .* belongs to"
    ):
        planned_runs(config, "magnitude", STAGES)
    assert contents(config.data) == before


def test_it_is_kept_for_other_arms_seeds_and_tasks(config: Config) -> None:
    """A transfer of another seed was made with it, and its own ticket is not there."""
    made = job(config, "mask")
    digest = read_mask(made.files.mask).metadata["digest"]
    job(config, "ticket").files.manifest.unlink()
    write_dense(config, trained=1)
    check_nothing_needs_old_mask(made)
    other = tiny_config(config.data.parent, "seeds=[1]", "pruning.sparsity=0.5")
    write_study(other)
    transfer = job(other, "ticket", seed=1).files
    change_manifest(transfer, fingerprint={"inputs": {"mask": digest}})
    with pytest.raises(StudyError, match=f"belongs to {transfer.folder}"):
        check_nothing_needs_old_mask(made)


def test_a_mask_that_is_made_again_must_be_the_tickets(config: Config) -> None:
    made = job(config, "mask")
    check_ticket_has_mask(made, read_mask(made.files.mask))
    other = mask_for(job(tiny_config(config.data.parent, "pruning.sparsity=0.5"), "mask"), {})
    with pytest.raises(StudyError, match=f"differs from the one that its finished ticket .*{made.files.folder}"):
        check_ticket_has_mask(made, other)


def test_the_same_mask_in_other_bytes_is_no_damage_to_its_ticket(config: Config) -> None:
    made = job(config, "mask")
    metadata = {"later": "rlottery", "fingerprint": expected_mask_fingerprint(made)}
    mask = read_mask(made.files.mask)
    write_bytes(made.files.mask, mask_to_bytes(replace(mask, metadata=mask.metadata | metadata)))
    write_bytes(made.mask_path, made.files.mask.read_bytes())
    assert planned_runs(config, "magnitude", STAGES)[2].state is JobState.WAITING
    keep_ticket_of(made, mask)
    assert [t.state for t in planned_runs(config, "magnitude", STAGES)] == [JobState.FOUND] * 3


def test_a_mask_without_a_ticket_follows_its_agent(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    write_dense(config)
    write_mask(config)
    write_dense(config, trained=1)
    assert [t.state.value for t in planned_runs(config, "magnitude", STAGES)] == ["already done", "waiting", "waiting"]
    write_ticket(config)
