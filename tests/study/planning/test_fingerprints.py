from pathlib import Path

import pytest

from rlottery.storage.manifests import list_differences
from rlottery.study.planning.arms import built_in_arms
from rlottery.study.planning.fingerprints import Fingerprint, dense_fingerprint, mask_fingerprint, ticket_fingerprint
from tests.study.studies import job, tiny_config


def dense(folder: Path, *overrides: str) -> Fingerprint:
    config = tiny_config(folder, *overrides)
    return dense_fingerprint(config, config.tasks[0], 0)


def mask(folder: Path, *overrides: str, method: str = "gradient") -> Fingerprint:
    return mask_fingerprint(job(tiny_config(folder, *overrides), "mask", method=method).arm, 0, {"agent": "digest"})


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("name=other", "name"),
        ("device=cuda", "device"),
        ("network.actor=[8]", "network.actor"),
        ("sac.discount=0.9", "sac.discount"),
        ("sac.batch_size=32", "sac.batch_size"),
        ("training.env_steps=400", "training.env_steps"),
        ("training.warmup_steps=50", "training.warmup_steps"),
        ("training.updates_per_step=2", "training.updates_per_step"),
        ("training.replay_capacity=100", "training.replay_capacity"),
        ("training.environments=2", "training.environments"),
        ("evaluation.interval=100", "evaluation.interval"),
        ("evaluation.episodes=2", "evaluation.episodes"),
        ("tasks=[{id: Pendulum-v1, sac: {discount: 0.9}}]", "sac.discount"),
        ("tasks=[{id: Pendulum-v1, kwargs: {g: 9.8}}]", "task.kwargs.g"),
    ],
)
def test_keys_that_training_reads(tmp_path: Path, override: str, key: str) -> None:
    (line,) = list_differences(dense(tmp_path, override), dense(tmp_path))
    assert line.startswith(f"{key}: ")


@pytest.mark.parametrize(
    "override",
    [
        "workers=1",
        "keep_replay=false",
        "evaluation.score_evaluations=2",
        "pruning.sparsity=0.5",
        "seeds=[0, 1]",
        "data=elsewhere",
        "tasks=[Pendulum-v1, HalfCheetah-v5]",
        "tasks=[{id: Pendulum-v1, sac: {discount: 0.99}}]",
    ],
)
def test_keys_that_training_does_not_read(tmp_path: Path, override: str) -> None:
    assert dense(tmp_path, override) == dense(tmp_path)


@pytest.mark.parametrize(
    "override",
    [
        "pruning.sparsity=0.5",
        "pruning.sparsity={actor: 0.8, critic: 0.5}",
        "pruning.gradient_method=gradient",
        "pruning.num_gradient_batches=3",
        "pruning.gradient_batch_size=9",
    ],
)
def test_keys_that_a_gradient_mask_reads(tmp_path: Path, override: str) -> None:
    assert list_differences(mask(tmp_path, override), mask(tmp_path))


def test_a_magnitude_mask_reads_no_batches(tmp_path: Path) -> None:
    changed = mask(tmp_path, "pruning.num_gradient_batches=3", "pruning.gradient_method=gradient", method="magnitude")
    assert changed == mask(tmp_path, method="magnitude")


def test_a_mask_depends_on_the_dense_agent(tmp_path: Path) -> None:
    arm = job(tiny_config(tmp_path), "mask").arm
    assert mask_fingerprint(arm, 0, {"agent": "a"}) != mask_fingerprint(arm, 0, {"agent": "b"})


def test_a_ticket_depends_on_training_keys_and_inputs_but_not_on_pruning_keys(tmp_path: Path) -> None:
    def ticket(*overrides: str, mask: str = "digest") -> Fingerprint:
        config = tiny_config(tmp_path, *overrides)
        arm = built_in_arms("magnitude", config.pruning)[0]
        return ticket_fingerprint(config, config.tasks[0], 0, arm, {"initial": "weights", "mask": mask})

    assert ticket("pruning.sparsity=0.5") == ticket()  # its mask's digest says which
    assert ticket("sac.discount=0.9") != ticket()
    assert ticket(mask="other") != ticket()
