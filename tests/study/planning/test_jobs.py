import pytest

from rlottery.config import Config, config_to_dict
from rlottery.study.planning.arms import arms_of, chosen_arms
from rlottery.study.planning.fingerprints import dense_fingerprint, mask_fingerprint, ticket_fingerprint
from rlottery.study.planning.jobs import STAGES, Job, list_jobs, prerequisites
from tests.study.studies import tiny_config

ARMS = [
    {"control": "random", "of": "imp", "name": "early"},
    {"name": "mag", "criterion": "magnitude", "sparsity": 0.8},
    {"name": "snip", "criterion": "snip", "sparsity": 0.8},
    {"name": "imp", "criterion": "magnitude", "sparsity": 0.8, "schedule": {"iterative": {"rate": 0.5}}},
    {"name": "rigl", "schedule": {"rigl": {"interval": 50}}, "sparsity": 0.8},
    {"name": "tuned", "criterion": "magnitude", "sparsity": 0.8, "rewind": "none"},
    {"name": "inverted", "control": "inverted", "of": "mag"},
    {"name": "of-rigl", "control": "shuffled", "of": "rigl"},
    {"name": "small", "control": "small-dense", "of": "mag"},
    {"name": "small-rigl", "control": "small-dense", "of": "rigl"},
    {"name": "again", "control": "dense-again"},
    {"name": "seed", "transfer": {"seed": "next"}, "of": "mag"},
    {"name": "task", "transfer": {"task": "b"}, "of": "imp"},
    {"name": "both", "transfer": {"task": "b", "seed": "next"}, "of": "rigl"},
    {"name": "file", "transfer": {"file": "{task}.pkl"}},
    {"name": "random-seed", "control": "random", "of": "seed"},
    {"name": "small-file", "control": "small-dense", "of": "file"},
]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    plain = config_to_dict(tiny_config(tmp_path_factory.mktemp("jobs"), "tasks=[a, b]", "seeds=[3, 5, 4]"))
    del plain["pruning"]
    return Config.model_validate({**plain, "arms": ARMS})


def all_jobs(config: Config, *stages: str) -> list[Job]:
    return list_jobs(config, arms_of(config, None), stages or STAGES)


def told(job: Job) -> str:
    return f"{job.task.id}{job.seed} {job.arm_name} {job.stage}"


def job_of(config: Config, arm: str, stage: str, *, seed: int = 3) -> Job:
    found = [j for j in all_jobs(config) if (j.task_index, j.seed, j.arm_name, j.stage) == (0, seed, arm, stage)]
    (job,) = found
    return job


@pytest.mark.parametrize(
    ("arm", "stage", "needs"),
    [
        ("dense", "dense", set()),
        ("mag", "mask", {"a3 dense dense"}),
        ("mag", "ticket", {"a3 dense dense", "a3 mag mask"}),
        ("snip", "mask", {"a3 dense dense"}),
        # A round scores what the one before trained; the last round is the arm itself.
        ("imp.round-1", "mask", {"a3 dense dense"}),
        ("imp.round-1", "ticket", {"a3 dense dense", "a3 imp.round-1 mask"}),
        ("imp.round-2", "mask", {"a3 dense dense", "a3 imp.round-1 ticket"}),
        ("imp", "mask", {"a3 dense dense", "a3 imp.round-2 ticket"}),
        ("imp", "ticket", {"a3 dense dense", "a3 imp mask"}),
        # Masks that change in training are made by the ticket's own stage.
        ("rigl", "ticket", {"a3 dense dense"}),
        ("tuned", "ticket", {"a3 dense dense", "a3 tuned mask"}),
        ("early", "mask", {"a3 dense dense", "a3 imp mask"}),
        ("inverted", "mask", {"a3 dense dense", "a3 mag mask"}),
        ("inverted", "ticket", {"a3 dense dense", "a3 inverted mask"}),
        ("of-rigl", "mask", {"a3 dense dense", "a3 rigl ticket"}),
        # Controls without a mask of their own wait for the ticket's: it says how many weights they have.
        ("small", "ticket", {"a3 dense dense", "a3 mag mask"}),
        ("small-rigl", "ticket", {"a3 dense dense", "a3 rigl ticket"}),
        ("again", "ticket", {"a3 dense dense"}),
        ("seed", "mask", {"a3 dense dense", "a5 mag mask"}),
        ("task", "mask", {"a3 dense dense", "b3 imp mask"}),
        ("both", "mask", {"a3 dense dense", "b5 rigl ticket"}),
        ("both", "ticket", {"a3 dense dense", "a3 both mask"}),
        ("file", "mask", {"a3 dense dense"}),
        ("random-seed", "mask", {"a3 dense dense", "a3 seed mask"}),
        ("small-file", "ticket", {"a3 dense dense", "a3 file mask"}),
    ],
)
def test_needs(config: Config, arm: str, stage: str, needs: set[str]) -> None:
    assert {told(needed) for needed in job_of(config, arm, stage).needs} == needs


@pytest.mark.parametrize(("seed", "following"), [(3, 5), (5, 4), (4, 3)])
def test_the_next_seed_is_the_next_in_the_list(config: Config, seed: int, following: int) -> None:
    source = job_of(config, "seed", "mask", seed=seed).mask_source
    assert source is not None
    assert (source.arm_name, source.stage, source.seed) == ("mag", "mask", following)


def test_there_is_a_job_for_every_task_seed_arm_and_stage(config: Config) -> None:
    found = all_jobs(config)
    without_mask = {"rigl", "small", "small-rigl", "again", "small-file"}
    arms = {arm.name for arm in arms_of(config, None)}
    expected = {("dense", "dense"), *((arm, "ticket") for arm in arms), *((arm, "mask") for arm in arms - without_mask)}
    assert len({job.key for job in found}) == len(found) == 6 * len(expected)
    assert {(job.arm_name, job.stage) for job in found} == expected
    assert len({job.label for job in found}) == len(found)


def test_jobs_come_after_those_that_they_wait_for(config: Config) -> None:
    found = all_jobs(config)
    waits = prerequisites(found)
    for index, (job, before) in enumerate(zip(found, waits, strict=True)):
        assert all(other < index for other in before)
        # With every stage asked for, nothing that is needed is left out.
        assert {found[other].key for other in before} == {needed.key for needed in job.needs}


def test_stages_left_out_are_not_waited_for(config: Config) -> None:
    found = all_jobs(config, "ticket")
    waits = dict(zip(map(told, found), prerequisites(found), strict=True))
    assert {told(found[i]) for i in waits["a3 small-rigl ticket"]} == {"a3 rigl ticket"}
    assert waits["a3 mag ticket"] == waits["a3 imp ticket"] == []
    masks = all_jobs(config, "mask")
    waits = dict(zip(map(told, masks), prerequisites(masks), strict=True))
    assert {told(masks[i]) for i in waits["a3 seed mask"]} == {"a5 mag mask"}
    assert all(told(job) != "a3 rigl mask" for job in masks)
    assert {job.stage for job in all_jobs(config, "dense")} == {"dense"}


def test_rewinding_shortens_training(config: Config) -> None:
    plain = config_to_dict(config)
    rewound = {"name": "late", "criterion": "magnitude", "sparsity": 0.8, "rewind": {"step": 120}}
    late = Config.model_validate({**plain, "arms": [rewound, {"control": "random", "of": "late"}]})
    assert {(job.arm_name, job.env_steps, job.steps_before) for job in all_jobs(late)} == {
        ("dense", 300, 0),
        ("late", 180, 120),
        ("random-of-late", 180, 120),
    }
    tuned = Config.model_validate({**plain, "arms": [rewound | {"rewind": "none"}]})
    assert {(job.arm_name, job.env_steps, job.steps_before) for job in all_jobs(tuned)} == {
        ("dense", 300, 0),
        ("late", 300, 300),
    }


def test_a_choice_of_arms_changes_none_of_them(config: Config) -> None:
    def told_of(names: list[str]) -> dict[object, object]:
        chosen = chosen_arms(arms_of(config, None), names)
        inputs = {"mask": "0"}
        found: dict[object, object] = {}
        for job in list_jobs(config, chosen, STAGES):
            if job.arm is None:
                found[job.key] = dense_fingerprint(config, job.task, job.seed)
            elif job.stage == "mask":
                found[job.key] = mask_fingerprint(job.arm, job.seed, inputs)
            else:
                found[job.key] = ticket_fingerprint(config, job.task, job.seed, job.arm, inputs)
        return found

    whole = told_of([arm.name for arm in arms_of(config, None)])
    one, other = told_of(["both", "early"]), told_of(["early", "small"])
    assert one.keys() & other.keys() > {(0, 3, "dense", "dense"), (0, 3, "imp.round-1", "mask")}
    for part in (one, other):
        assert part == {key: whole[key] for key in part}


def test_a_transfer_of_a_fine_tuned_ticket_waits_for_the_agent_that_it_starts_from(config: Config) -> None:
    rounds = {"name": "tuned", "criterion": "magnitude", "sparsity": 0.75, "rewind": "none"}
    rounds["schedule"] = {"iterative": {"rate": 0.5}}
    moved = {"name": "moved", "transfer": {"seed": "next"}, "of": "tuned"}
    study = Config.model_validate({**config_to_dict(config), "arms": [rounds, moved]})
    needed = {told(job) for job in job_of(study, "moved", "ticket").needs}
    assert needed == {"a3 dense dense", "a3 moved mask", "a3 tuned.round-1 ticket"}
    control = {"name": "control", "control": "random", "of": "moved"}
    study = Config.model_validate({**config_to_dict(config), "arms": [control, rounds, moved]})
    needed = {told(job) for job in job_of(study, "control", "ticket").needs}
    assert needed == {"a3 dense dense", "a3 control mask", "a3 tuned.round-1 ticket"}


def test_rewind_points_are_planned_for_the_arms_that_go_back_to_them(config: Config) -> None:
    late = {"name": "late", "criterion": "magnitude", "sparsity": 0.8, "rewind": {"step": 120}}
    plain = {"name": "mag", "criterion": "magnitude", "sparsity": 0.8}
    study = Config.model_validate({**config_to_dict(config), "arms": [late, plain]})
    assert {told(job) for job in job_of(study, "late", "ticket").needs} == {
        "a3 dense dense",
        "a3 dense rewind",
        "a3 late mask",
    }
    arms = arms_of(study, None)
    assert "rewind" not in {job.stage for job in list_jobs(study, chosen_arms(arms, ["mag"]), STAGES)}
    assert "rewind" in {job.stage for job in list_jobs(study, arms, ("dense",))}
    assert "rewind" not in {job.stage for job in list_jobs(study, arms, ("mask", "ticket"))}
