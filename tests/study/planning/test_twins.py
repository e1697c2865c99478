"""Whether twin critics share a budget, in new studies and in those that an earlier version began."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from rlottery.config import Config, config_to_dict
from rlottery.errors import StudyError
from rlottery.pruning.mask_file import mask_to_bytes, read_mask
from rlottery.storage.checkpoint_record import record_path
from rlottery.storage.disk import write_bytes
from rlottery.storage.manifests import write_sealed
from rlottery.storage.paths import RunFiles, Store
from rlottery.storage.study_record import note_command, read_study_record, twins_of
from rlottery.study.planning.arms import arms_of
from rlottery.study.planning.fingerprints import mask_fingerprint, ticket_fingerprint
from rlottery.study.planning.jobs import STAGES
from rlottery.study.planning.plan import SHARED, JobState, plan_study
from tests.study.studies import job, tiny_config, write_dense, write_mask, write_record, write_study

ARMS = [
    {"name": "global", "criterion": "magnitude", "sparsity": 0.5},
    {"name": "in-rounds", "criterion": "magnitude", "sparsity": 0.5, "schedule": {"iterative": {"rate": 0.4}}},
    {"name": "erk", "criterion": "magnitude", "sparsity": 0.5, "allocation": "erk"},
    {"name": "gradual", "sparsity": 0.5, "schedule": {"gradual": {"interval": 20}}},
    {"name": "set", "sparsity": 0.5, "schedule": {"set": {"interval": 20}}},
    {"name": "random", "control": "random", "of": "global"},
]


def with_arms(folder: Path) -> Config:
    settings = config_to_dict(tiny_config(folder))
    del settings["pruning"]
    return Config.model_validate({**settings, "arms": ARMS})


def as_before(files: RunFiles) -> None:
    """Make a mask one of an earlier version, whose fingerprint says nothing of twins."""
    mask = read_mask(files.mask)
    made_from = mask.metadata["fingerprint"]
    pruning = {key: value for key, value in made_from["pruning"].items() if key != "twins"}
    metadata = {**mask.metadata, "fingerprint": {**made_from, "pruning": pruning}}
    write_bytes(files.mask, mask_to_bytes(replace(mask, metadata=metadata)))


@pytest.fixture
def earlier(tmp_path: Path) -> Config:
    """A study of an earlier version with a dense agent and a mask."""
    config = tiny_config(tmp_path)
    write_dense(config)
    made = write_mask(config)
    as_before(made.files)
    write_bytes(made.mask_path, made.files.mask.read_bytes())
    return config


def planned(config: Config, stages: Sequence[str] = STAGES) -> tuple[dict[str, JobState], bool]:
    """The state of each job, and whether the plan says that budgets are shared."""
    said: list[str] = []
    tracked = plan_study(config, None, stages, say=said.append)
    return {t.job.label: t.state for t in tracked}, SHARED in said


def test_a_new_study_has_separate_budgets_and_says_so_in_its_masks(tmp_path: Path) -> None:
    config = with_arms(tmp_path)
    told = {arm.name: mask_fingerprint(arm, 0, {})["pruning"].get("twins") for arm in arms_of(config, None)}
    separate = {"global": "separate", "in-rounds.round-1": "separate", "in-rounds": "separate", "gradual": "separate"}
    assert told == separate | {"erk": None, "set": None, "random": None}
    gradual = next(arm for arm in arms_of(config, None) if arm.name == "gradual")
    assert ticket_fingerprint(config, config.tasks[0], 0, gradual, {})["arm"]["twins"] == "separate"
    assert not planned(config)[1]
    note_command(config, has_work=True)
    assert read_study_record(config.data)["twins"] == twins_of(config.data) == "separate"


def test_a_study_of_an_earlier_version_goes_on_with_the_shared_budget(earlier: Config) -> None:
    states, said = planned(earlier)
    assert states["Pendulum-v1 seed 0 magnitude-80 mask"] is JobState.FOUND and said
    # For further arms too: what is compared was made alike.
    wider = with_arms(earlier.data.parent)
    assert all("twins" not in mask_fingerprint(arm, 1, {})["pruning"] for arm in arms_of(wider, None))
    assert {arm.twins for arm in arms_of(wider, None) if arm.ranks_globally} == {"shared"}
    gradual = next(arm for arm in arms_of(wider, None) if arm.name == "gradual")
    assert "twins" not in ticket_fingerprint(wider, wider.tasks[0], 1, gradual, {})["arm"]


def test_the_record_remembers_it_and_the_masks_tell_it_if_the_record_cannot(earlier: Config) -> None:
    """A record of an earlier version has no such key; a damaged one is written again."""
    record = Store(earlier.data).record
    for known in (None, "damaged", "without the key"):
        if known == "damaged":
            record.write_text("{")
        elif known:
            content = {k: v for k, v in json.loads(record.read_text()).items() if k not in ("twins", "checksum")}
            write_sealed(record, content)
        assert twins_of(earlier.data) == "shared"
        note_command(earlier, has_work=True)
        assert read_study_record(earlier.data)["twins"] == "shared"
    job(earlier, "mask").files.mask.unlink()
    assert twins_of(earlier.data) == "shared"


def test_masks_of_both_kinds_are_never_mixed(tmp_path: Path) -> None:
    """A finished ticket of the other kind, from a version that knows one kind alone, is an error and is kept."""
    config = tiny_config(tmp_path)
    write_study(config)
    note_command(config, has_work=True)
    as_before(job(config, "mask").files)
    with pytest.raises(StudyError, match=r"(?s)a run of another recipe:.*pruning\.twins"):
        plan_study(config, "magnitude", STAGES)


def test_masks_that_were_not_ranked_globally_bind_nobody(tmp_path: Path) -> None:
    config = with_arms(tmp_path)
    write_dense(config)
    made = write_mask(tiny_config(tmp_path)).files
    erk = next(arm for arm in arms_of(config, None) if arm.name == "erk")
    mask = read_mask(made.mask)
    metadata = {**mask.metadata, "fingerprint": mask_fingerprint(erk, 0, {})}
    write_bytes(made.mask, mask_to_bytes(replace(mask, metadata=metadata)))
    assert twins_of(config.data) == "separate"


def test_a_run_that_was_interrupted_goes_on_as_it_began(tmp_path: Path) -> None:
    """Gradual pruning leaves a checkpoint before it leaves a mask."""
    config = tiny_config(tmp_path, "pruning.sparsity=0.5")
    write_dense(config)
    started = job(config, "ticket")
    write_record(started, 150)
    path = record_path(started.files, 150)
    record = {key: value for key, value in json.loads(path.read_text()).items() if key != "checksum"}
    keys = {"sparsity": {"actor": 0.5, "critic": 0.5}, "schedule": {"gradual": {"interval": 20}}}
    for twins in ({}, {"twins": "separate"}):
        write_sealed(path, record | {"fingerprint": {"arm": keys | twins}})
        assert twins_of(config.data) == ("separate" if twins else "shared")
