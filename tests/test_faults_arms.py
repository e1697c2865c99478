"""Kills while masks change in training, and on the way back into it; `python -m tests.faults` has every kind of arm.

A file of its own, because whole files go to a process of the test run.
"""

import random
from pathlib import Path

from tests.faults import QUICKLY, Study, digests, endure, make_study, start

TRAINED_OTHERWISE = """\
name: tiny
tasks: [Pendulum-v1]
seeds: [0]
network: {actor: [16, 16], critic: [16, 16]}
arms:
  - {name: rigl, schedule: {rigl: {interval: 50}}, sparsity: 0.8, rescale: true}
  - {name: gradual, schedule: {gradual: {interval: 50}}, sparsity: 0.8}
  - {name: late, criterion: magnitude, sparsity: 0.75, rewind: {step: 250}}
training: {env_steps: 650, warmup_steps: 150}
evaluation: {interval: 150, episodes: 1, score_evaluations: 1, untrained_policies: 2}
"""


def test_arms_that_prune_in_training_or_go_back_into_it_end_in_the_same_bits(tmp_path: Path) -> None:
    undisturbed = make_study(tmp_path / "undisturbed", TRAINED_OTHERWISE)
    assert start(undisturbed).wait(timeout=600) == 0, (undisturbed / "command.log").read_text()
    killed = make_study(tmp_path / "killed", TRAINED_OTHERWISE)
    survived = endure(killed, Study(TRAINED_OTHERWISE, ((),)), 2, random.Random(2), latest=QUICKLY)
    assert survived.total() > 0
    expected = digests(undisturbed / "data")
    assert len(expected) == 18
    assert digests(killed / "data") == expected
