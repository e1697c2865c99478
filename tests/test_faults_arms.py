"""Kills while masks change in training, and on the way back into it; `python -m tests.faults` has every kind of arm.

A file of its own, because whole files go to a process of the test run.
"""

import os
import shutil
import signal
from pathlib import Path

from rlottery.storage.paths import Store
from tests.faults import ALWAYS, digests, sessions, start, worker_of
from tests.study.execution.in_process import run_in_this_process
from tests.waiting import TASK, Hold, make_study, wait_for

CONFIG = f"""\
name: held
tasks: ["{TASK}"]
seeds: [0]
network: {{actor: [16, 16], critic: [16, 16]}}
arms:
  - {{name: rigl, schedule: {{rigl: {{interval: 50}}}}, sparsity: 0.8, rescale: true}}
  - {{name: gradual, schedule: {{gradual: {{interval: 50}}}}, sparsity: 0.8}}
  - {{name: late, criterion: magnitude, sparsity: 0.75, rewind: {{step: 250}}}}
training: {{env_steps: 650, warmup_steps: 150}}
evaluation: {{interval: 150, episodes: 1, score_evaluations: 1, untrained_policies: 2}}
"""


def test_arms_that_prune_in_training_or_go_back_into_it_end_in_the_same_bits(tmp_path: Path) -> None:
    undisturbed = make_study(tmp_path / "undisturbed", CONFIG)
    run_in_this_process(undisturbed, "--stages", "dense")
    disturbed = Path(shutil.copytree(undisturbed, tmp_path / "disturbed"))
    run_in_this_process(undisturbed)

    runs = [Store(disturbed / "data").run("held_Held-v0", 0, arm) for arm in ("rigl", "gradual", "late")]
    # The rewound run has the 400 steps that are left.
    rigl, gradual, late = (
        Hold(disturbed, arm, from_step=step) for arm, step in (("rigl", 400), ("gradual", 440), ("late", 260))
    )
    process = start(disturbed, ALWAYS, "workers=1")
    wait_for(rigl.is_reached, process)
    os.kill(worker_of(runs[0]), signal.SIGKILL)  # it is started once more
    rigl.release()
    wait_for(gradual.is_reached, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=600) == 130
    gradual.release()
    process = start(disturbed, ALWAYS, "workers=1")
    wait_for(late.is_reached, process)
    os.kill(worker_of(runs[2]), signal.SIGKILL)
    late.release()
    assert process.wait(timeout=600) == 0, (disturbed / "command.log").read_text()

    expected = digests(undisturbed / "data")
    assert len(expected) == 18
    assert digests(disturbed / "data") == expected
    assert [sessions(run) for run in runs] == [2, 2, 2]
