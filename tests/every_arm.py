"""Runs every kind of arm with every algorithm, and what comes after: does all that exists work with all of them?

uv run python -m tests.every_arm
uv run python -m tests.every_arm td3 ppo-CartPole-v1

For each case of `tests/cases.py`: a tiny study with every criterion, schedule, control and transfer, rewinding, units,
reclaiming and layer sparsities; then `status`, `verify`, `report`, the export of every policy, and a film of one where
pygame is installed. All of it runs in this process. What a plan refuses is printed with its reason. Ends with 1 if
anything fails.
"""

import contextlib
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner

from rlottery.cli import app
from rlottery.config import load_config
from rlottery.config.recipes import parse_recipe
from rlottery.errors import ConfigError
from rlottery.pruning.controls import CONTROLS
from rlottery.pruning.criteria import CRITERIA, ESTIMATES, statistics_for
from rlottery.storage.study_record import note_command
from rlottery.study.planning.jobs import STAGES
from rlottery.study.planning.plan import plan_study
from rlottery.study.stages.run_stage import run_stage
from tests.cases import CASES, Case, case_called
from tests.faults import ARMS_CONFIG, of_case

DATA = {"batches": 2, "batch_size": 8}


def arms(case: Case) -> list[dict[str, Any]]:
    """Those of the study of the fault tests, and one of each criterion, control and option that it lacks."""
    found = [of_case(arm, case) for arm in yaml.safe_load(ARMS_CONFIG)["arms"]]
    for name in CRITERIA:
        needed = statistics_for(name)
        data = DATA if ESTIMATES.keys() & {*needed.trained, *needed.initial} else {}
        found.append({"name": f"by-{name}", "criterion": name, "sparsity": 0.5, **data})
    found.append({"name": "reclaimed", "criterion": "magnitude", "sparsity": 0.8, "reclaim": True})
    found += [{"transfer": {"seed": "next"}, "of": "magnitude"}, {"control": "random", "of": "gradual"}]
    found.append({"control": "random", "of": "seed-next-of-magnitude"})
    listed = {arm.get("control") for arm in found}
    found += [{"control": name, "of": "magnitude"} for name in CONTROLS if name not in listed]
    return found


def accepted(case: Case) -> list[dict[str, Any]]:
    """The arms that this algorithm can have. What is refused is printed, with its reason."""
    kept: dict[str, dict[str, Any]] = {}
    for arm in arms(case):
        needed = [kept[arm["of"]]] if arm.get("of") in kept else []
        needed += [kept[one["of"]] for one in needed if one.get("of") in kept]
        Path("tried.yaml").write_text(config_text(case, [*needed, arm]))
        try:
            load_config("tried.yaml")
        except ConfigError as error:
            print(f"{case}: refused: {arm}: {error}", flush=True)
        else:
            kept[parse_recipe(arm).name or parse_recipe(arm).default_name()] = arm
    return list(kept.values())


def config_text(case: Case, arms: list[dict[str, Any]]) -> str:
    training = {"env_steps": 400, "environments": 2, **case.training}
    config = {
        "name": "every-arm",
        "algorithm": case.name,
        case.name: dict(case.section),
        "tasks": [case.task],
        "seeds": [0, 1],
        "network": {group: [16, 16] for group in case.groups},
        "training": training,
        "evaluation": {"interval": 200, "episodes": 1, "score_evaluations": 1, "untrained_policies": 2},
        "arms": [smaller(arm) for arm in arms],
    }
    return yaml.safe_dump(config, sort_keys=False)


def smaller(arm: dict[str, Any]) -> dict[str, Any]:
    """With a rewind point within 400 steps."""
    return arm | {"rewind": {"step": 100}} if isinstance(arm.get("rewind"), dict) else arm


def failures(case: Case) -> Iterator[str]:
    """What fails, in the working directory."""
    Path("config.yaml").write_text(config_text(case, accepted(case)))
    config = load_config("config.yaml")
    note_command(config, has_work=True)
    jobs = [tracked.job for tracked in plan_study(config, None, STAGES)]
    print(f"{case}: {len(config.recipes)} arms, {len(jobs)} jobs", flush=True)
    for job in jobs:
        try:
            with contextlib.redirect_stdout(None):
                run_stage(job)
        except Exception:
            yield f"{job.stage} of {job.arm.name}, seed {job.seed}: {traceback.format_exc()}"
    folders = list(dict.fromkeys(job.files.folder for job in jobs if job.stage in ("dense", "ticket")))
    commands = [["status"], ["verify"], ["report"]]
    commands += [["export", str(folder), "--to", f"{number}.npz"] for number, folder in enumerate(folders)]
    if find_spec("pygame"):  # which renders these tasks
        commands += [["play", str(folders[0]), "--to", "film.gif", "--trust"]]
    for command in commands:
        result = CliRunner().invoke(app, command)
        if result.exit_code:
            yield f"{' '.join(command)}: {result.output}{result.exception!r}"


def main() -> int:
    cases = [case_called(name) for name in sys.argv[1:]] or CASES
    failed = 0
    for case in cases:
        with tempfile.TemporaryDirectory(prefix="every-arm-") as folder, contextlib.chdir(folder):
            for failure in failures(case):
                failed += 1
                print(f"{case}: {failure}", flush=True)
    print(f"{failed} failures with {', '.join(map(str, cases))}.")
    return 1 if failed else 0


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    sys.exit(main())
