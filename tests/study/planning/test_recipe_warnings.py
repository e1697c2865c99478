"""Warnings of tickets that are rewound too late to learn again, before anything starts."""

from pathlib import Path

import pytest

from rlottery.config import Config, load_config
from rlottery.study.planning.arms import arms_of
from rlottery.study.planning.jobs import STAGES, list_jobs
from rlottery.study.planning.recipe_warnings import few_updates_warnings


def study(folder: Path, algorithm: str, settings: str, step: int) -> Config:
    """24,000 updates of a dense agent, one after each step that follows its warm-up."""
    (folder / "config.yaml").write_text(
        f"tasks: [{'CartPole-v1' if algorithm == 'dqn' else 'Pendulum-v1'}]\nseeds: [0, 1]\nalgorithm: {algorithm}\n"
        f"{algorithm}: {{{settings}}}\n"
        f"arms: [{{name: late, criterion: magnitude, sparsity: 0.5, rewind: {{step: {step}}}}}]\n"
    )
    return load_config(folder / "config.yaml")


def warned(config: Config) -> list[str]:
    return few_updates_warnings(config, list_jobs(config, arms_of(config, None), STAGES))


@pytest.mark.parametrize(
    ("algorithm", "key", "without"),
    [
        ("dqn", "target_interval", "its target would never be renewed"),
        ("td3", "policy_delay", "its actor would never be updated"),
    ],
)
def test_fewer_updates_than_the_agent_needs(tmp_path: Path, algorithm: str, key: str, without: str) -> None:
    # 25,000 steps, of which a ticket has 11,000 left; its own warm-up takes 1,000.
    assert warned(study(tmp_path, algorithm, f"{key}: 10001", 14_000)) == [
        f"Warning: late on {'CartPole-v1' if algorithm == 'dqn' else 'Pendulum-v1'}: rewind step 14000 leaves 10000 "
        f"updates, fewer than {key} (10001): {without}. Use an earlier step, or a lower {key}."
    ]
    assert warned(study(tmp_path, algorithm, f"{key}: 10000", 14_000)) == []


def test_sac_needs_one(tmp_path: Path) -> None:
    assert warned(study(tmp_path, "sac", "batch_size: 64", 14_000)) == []
