"""Settings: their defaults, what they mean, and the configs that are shipped."""

import ast
import datetime
import inspect
import itertools
import json
import math
import subprocess
import sys
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from rlottery.config import (
    Config,
    DQNSettings,
    PPOSettings,
    SACSettings,
    Task,
    TD3Settings,
    config_to_dict,
    default_config_text,
    load_config,
)
from rlottery.config.fields import Sparsity
from rlottery.config.groups import ALGORITHMS
from rlottery.config.recipes import TicketRecipe
from rlottery.config.schedules import PruningSchedule
from rlottery.errors import ConfigError
from rlottery.storage.manifests import list_differences
from rlottery.storage.trained_with import trained_with
from tests.config.conftest import Faults

ROOT = Path(__file__).parents[2]
MINIMAL = "tasks: [a]\nseeds: [0]\n"


# What is read


def test_defaults(load: Callable[..., Config]) -> None:
    assert config_to_dict(load(MINIMAL)) == {
        "name": "study",
        "data": "data",
        "data_anywhere": False,
        "tasks": [{"id": "a", "kwargs": {}, "sac": {}, "training": {}}],
        "seeds": [0],
        "workers": "auto",
        "device": "cpu",
        "pruning": {
            "sparsity": 0.8,
            "controls": ["random"],
            "allocation": "global",
            "gradient_method": "taylor",
            "num_gradient_batches": 100,
            "gradient_batch_size": 256,
            "reclaim": False,
        },
        "network": {"actor": [256, 256], "critic": [256, 256]},
        "sac": {
            "discount": 0.99,
            "polyak": 0.005,
            "actor_learning_rate": 0.0003,
            "critic_learning_rate": 0.0003,
            "temperature_learning_rate": 0.0003,
            "initial_temperature": 1.0,
            "target_entropy": "auto",
            "batch_size": 256,
            "reward_scale": 1.0,
        },
        "training": {
            "env_steps": 25000,
            "warmup_steps": 1000,
            "updates_per_step": 1,
            "replay_capacity": "all",
        },
        "evaluation": {"interval": 2500, "episodes": 10, "score_evaluations": 3, "untrained_policies": 100},
        "verdict": {
            "margin": 0.1,
            "level": 0.05,
            "least_seeds": 5,
            "saturated_within": 0.02,
            "threshold": 0.9,
            "resamples": 2000,
        },
        "checkpoint_seconds": 120.0,
        "keep_replay": True,
        "other_versions": "report",
    }


def test_numbers_as_people_write_them(load: Callable[..., Config]) -> None:
    config = load(
        MINIMAL + "sac: {actor_learning_rate: 3e-4, critic_learning_rate: 1E-3, reward_scale: 5, discount: .9}\n"
        "training: {env_steps: 1e6, warmup_steps: 10_000, replay_capacity: 5.0e+5}\n"
    )
    assert config.sac.actor_learning_rate == 0.0003
    assert config.sac.critic_learning_rate == 0.001
    assert (config.sac.reward_scale, config.sac.discount) == (5.0, 0.9)
    assert type(config.sac.reward_scale) is float
    assert (config.training.env_steps, config.training.warmup_steps) == (1_000_000, 10_000)
    assert type(config.training.env_steps) is int
    assert config.training.capacity == 500_000


def test_capacity_all_holds_every_step(load: Callable[..., Config]) -> None:
    assert load(MINIMAL + "training: {env_steps: 7000}").training.capacity == 7000


@pytest.mark.parametrize(
    ("given", "actor", "critic", "written"),
    [
        ("0.9", 0.9, 0.9, 0.9),
        ("0", 0.0, 0.0, 0.0),
        ("{actor: 0.9, critic: 0.5}", 0.9, 0.5, {"actor": 0.9, "critic": 0.5}),
        ("{actor: 0.7, critic: 0.7}", 0.7, 0.7, 0.7),
    ],
)
def test_sparsity(load: Callable[..., Config], given: str, actor: float, critic: float, written: object) -> None:
    config = load(MINIMAL + f"pruning: {{sparsity: {given}}}")
    assert config.pruning.sparsity == Sparsity(actor=actor, critic=critic)
    assert config_to_dict(config)["pruning"]["sparsity"] == written


def test_a_ticket_that_prunes_nothing_has_no_controls_by_default(load: Callable[..., Config]) -> None:
    """Its random mask would be its own. Settings that are passed on and read again ask for none either."""
    config = load(MINIMAL + "pruning: {sparsity: 0}")
    assert Config.model_validate(config_to_dict(config)).pruning.controls == config.pruning.controls == ()
    assert load(MINIMAL + "pruning: {sparsity: {actor: 0, critic: 0.1}}").pruning.controls == ("random",)


@pytest.mark.parametrize(
    ("id", "name"),
    [
        ("drawer-close-v3", "drawer-close-v3"),
        ("my_package.envs:Crawler-v0", "my_package.envs_Crawler-v0"),
        ("ns/Crawler-v0", "ns_Crawler-v0"),
        ("module:ns/Crawler-v0", "module_ns_Crawler-v0"),
        ("module:ns/Crawler-v0+noise1000", "module_ns_Crawler-v0+noise1000"),
    ],
)
def test_task_name_is_a_file_name(id: str, name: str) -> None:
    assert Task(id=id).name == name


@pytest.mark.parametrize(
    "id",
    [
        "",
        "..",
        "../x",
        "/etc/x",
        "a/../b",
        "a..b",
        "a b",
        "a\nb",
        "a\n",
        "a\0",
        "a\\b",
        "a/b/c",
        "é",
        ".a",
        "a" * 129,
        "../x+noise5",
        "a..b+noise5",
        "a b+noise5",
        "a\n+noise5",
        "a" * 122 + "+noise5",
    ],
)
def test_unsafe_task_ids_are_refused(id: str) -> None:
    with pytest.raises(ValidationError, match="must be an id such as"):
        Task(id=id)


@pytest.mark.parametrize(
    "ending",
    [
        "+",
        "+noise",
        "+noise0",
        "+noise050",
        "+noise1001",
        "+noise-1",
        "+noise50+noise50",
        "+Noise5",
        "+noise5 ",
        "+noise5\n",
    ],
)
def test_a_wrong_ending_of_a_task_id_is_refused(ending: str) -> None:
    with pytest.raises(ValidationError, match=r"must end in '\+noiseN' once, .* 1 to 1,000"):
        Task(id=f"Pendulum-v1{ending}")


def test_task_overrides(load: Callable[..., Config]) -> None:
    config = load(
        "tasks:\n"
        "  - a\n"
        "  - {id: b, kwargs: {x: [1, {y: null}]}, sac: {discount: 0.5}, training: {env_steps: 100000}}\n"
        "seeds: [0]\n"
        "sac: {discount: 0.9, batch_size: 64}\n"
        "training: {warmup_steps: 30000, env_steps: 50000}\n"
    )
    plain, special = config.tasks
    assert config.hyperparameters_for(plain) == config.sac
    assert config.training_for(plain) == config.training
    assert special.kwargs == {"x": [1, {"y": None}]}
    assert (config.hyperparameters_for(special).discount, config.hyperparameters_for(special).batch_size) == (0.5, 64)
    assert config.training_for(special).env_steps == 100_000
    assert config.training_for(special).warmup_steps == 30_000
    assert config.training_for(special).capacity == 100_000
    # A default that a task states is stated: it wins over the study's value.
    config = load("tasks: [{id: a, sac: {discount: 0.99}}]\nseeds: [0]\nsac: {discount: 0.5}")
    assert config.hyperparameters_for(config.tasks[0]).discount == 0.99


def test_the_algorithm_is_chosen_by_name_and_read_from_its_section(load: Callable[..., Config]) -> None:
    """Without the key it is SAC. Records have the section of the chosen one alone."""
    of_task = "tasks: [{id: a, td3: {policy_delay: 5}}]\nseeds: [0]\ntd3: {batch_size: 100}\nalgorithm: td3\n"
    config = load(of_task)
    found = config.hyperparameters_for(config.tasks[0])
    assert found == TD3Settings(policy_delay=5, batch_size=100)
    plain = config_to_dict(config)
    assert plain["algorithm"] == "td3" and "sac" not in plain
    assert plain["tasks"] == [{"id": "a", "kwargs": {}, "td3": {"policy_delay": 5}, "training": {}}]
    assert Config.model_validate(plain) == config
    sac = load(MINIMAL + "algorithm: sac\nsac: {batch_size: 100}")
    assert sac.hyperparameters_for(sac.tasks[0]) == SACSettings(batch_size=100)
    assert config_to_dict(sac) == config_to_dict(load(MINIMAL + "sac: {batch_size: 100}"))


def test_the_command_line_chooses_another_algorithm_than_the_files(load: Callable[..., Config]) -> None:
    """As with the default config, which has all keys of `sac`. The file's sections of others are not read then."""
    of_file = "tasks: [a, {id: b, sac: {discount: 0.9}, td3: {discount: 0.8}}]\nseeds: [0]\nsac: {batch_size: 100}"
    config = load(of_file, "algorithm=td3", "td3.batch_size=64")
    assert config.hyperparameters_for(config.tasks[1]).model_dump(include={"batch_size", "discount"}) == {
        "batch_size": 64,
        "discount": 0.8,
    }


def test_the_section_of_another_algorithm_is_refused(faults: Faults) -> None:
    said = "`{0}` has settings of {1}, but `algorithm` is {2}; remove `{0}`, or set `algorithm: {1}`"
    assert faults(MINIMAL + "td3: {discount: 0.9}") == [f"config.yaml:3: td3: {said.format('td3', 'td3', 'sac')}"]
    in_task = "tasks: [a, {id: b, sac: {}}]\nseeds: [0]\nalgorithm: td3"
    (line,) = faults(in_task)
    assert line == f"config.yaml:1: tasks.1.sac: {said.format('tasks.1.sac', 'sac', 'td3')}"
    override = "td3.batch_size=100"
    (line,) = faults(MINIMAL, override)
    assert line == f"command line: {override}: td3: {said.format('td3', 'td3', 'sac')}"
    (line,) = faults(MINIMAL, "algorithm=td3", "sac.batch_size=64")
    assert line.endswith(said.format("sac", "sac", "td3"))
    assert faults(MINIMAL + "algorithm: TD3") == [
        "config.yaml:3: algorithm: must be sac, td3, dqn or ppo, not 'TD3'; did you mean 'td3'?"
    ]


PPO = "tasks: [a]\nseeds: [0]\nalgorithm: ppo\n"


def test_training_on_rollouts_has_its_own_schedule(load: Callable[..., Config]) -> None:
    """12 updates on each rollout of 64 steps; what replay needs is neither read nor recorded."""
    config = load(PPO + "ppo: {rollout_steps: 64, epochs: 3, batch_size: 16}\ntraining: {environments: 4}")
    training = config.training_for(config.tasks[0])
    assert [training.updates_by(step) for step in (0, 63, 64, 127, 128)] == [0, 0, 12, 12, 24]
    assert (training.first_update, training.warmup_steps, training.stride) == (64, 0, 64)
    plain = config_to_dict(config)
    recorded = {"env_steps", "replay_capacity", "environments"}
    assert plain["training"].keys() == training.model_dump().keys() == recorded
    assert Config.model_validate(json.loads(json.dumps(plain))) == config
    assert config_to_dict(Config.model_validate(plain)) == plain


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            "training: {warmup_steps: 5}",
            "`training.warmup_steps` doesn't apply to ppo: it learns from its own",
        ),
        ("training: {updates_per_step: 1}", "`training.updates_per_step` doesn't apply to ppo: it updates on each"),
        ("ppo: {rollout_steps: 32768}", "rollout_steps (32768) must be at most env_steps (25000): nothing would be"),
        (
            "training: {env_steps: 2000}\nevaluation: {interval: 100}",
            "rollout_steps (2048, its default) must be at most env_steps (2000)",
        ),
        (
            "ppo: {batch_size: 48}",
            "batch_size (48) must divide rollout_steps (2048, its default); the nearest are 32 and 64",
        ),
        (
            "ppo: {batch_size: 65536}",
            "batch_size (65536) must divide rollout_steps (2048, its default); the nearest is 2048",
        ),
        (
            "ppo: {epochs: 2000000000}",
            "config.yaml:4: ppo.epochs: would make 768,000,000,000 updates in a run; the most is 2,147,483,647",
        ),
        (
            "training: {environments: 5}",
            "environments (5) must divide ppo.rollout_steps (2048); the nearest is 4; or set ppo.rollout_steps to 1920 "
            "or 2240",
        ),
        (
            "training: {replay_capacity: 2000}",
            "replay_capacity (2000) must be at least rollout_steps (2048, its default)",
        ),
        (
            "arms: [{criterion: magnitude, sparsity: 0.5, rewind: {step: 3000}}]",
            "must be a multiple of rollout_steps (2048), not 3000; the nearest are 2048 and 4096",
        ),
        (
            "arms: [{schedule: rigl, sparsity: 0.5}]",
            "must be a multiple of rollout_steps (2048), not 500; the nearest is 2048",
        ),
        (
            "ppo: {rollout_steps: 1, batch_size: 1}\narms: [{schedule: {rigl: {end: 1.0e-5}}, sparsity: 0.5}]",
            "(end x env_steps), but the first update is made after step 1; raise end, or lower rollout_steps",
        ),
    ],
)
def test_rollouts_that_do_not_fit_are_refused(faults: Faults, keys: str, said: str) -> None:
    (line,) = faults(PPO + keys)
    assert said in line


def test_the_command_line_chooses_rollouts_over_a_file_for_replay(load: Callable[..., Config]) -> None:
    of_file = "tasks: [{id: a, training: {warmup_steps: 5}}]\nseeds: [0]\ntraining: {updates_per_step: 2}"
    config = load(of_file, "algorithm=ppo")
    assert config.training_for(config.tasks[0]).first_update == 2048


def test_round_trip(load: Callable[..., Config]) -> None:
    config = load(
        "tasks: [a, {id: 'm:b', kwargs: {k: 1}, sac: {discount: 0.99}}]\nseeds: [3, 1]\n"
        "pruning: {sparsity: {actor: 0.9, critic: 0.5}}\nsac: {target_entropy: -2}\n"
    )
    plain = config_to_dict(config)
    again = Config.model_validate(json.loads(json.dumps(plain)))
    assert again == config
    assert config_to_dict(again) == plain
    assert again.hyperparameters_for(again.tasks[1]) == config.hyperparameters_for(config.tasks[1])


def test_a_task_s_default_that_overrides_the_study_survives_a_round_trip(load: Callable[..., Config]) -> None:
    config = load(
        "tasks: [a, {id: b, training: {environments: 1, replay_capacity: all}}]\nseeds: [0]\n"
        "training: {environments: 8, replay_capacity: 5000}\nevaluation: {interval: 1000}\n"
    )
    plain = config_to_dict(config)
    assert [task["training"] for task in plain["tasks"]] == [{}, {"replay_capacity": "all", "environments": 1}]
    again = Config.model_validate(json.loads(json.dumps(plain)))
    assert [again.training_for(task).environments for task in again.tasks] == [8, 1]
    assert again == config


@pytest.mark.parametrize(("env_steps", "number"), [(2500, 1), (2501, 2), (25000, 10), (24999, 10)])
def test_number_of_evaluations(load: Callable[..., Config], env_steps: int, number: int) -> None:
    config = load(MINIMAL, "evaluation.score_evaluations=1", f"training.env_steps={env_steps}")
    assert config.evaluation.number(env_steps) == number


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("network: {actor: [65536, 65536]}", "network: makes 4,295,098,368 weights between hidden layers; the most is"),
        ("network: {critic: [12000, 12000]}", "network: makes 288,065,536 weights between hidden layers"),
        ("network: {critic: [12000, 12000]}\nalgorithm: ppo", None),  # which has one critic
        ("evaluation: {interval: 1}\ntraining: {env_steps: 100001}", "interval (1) makes 100,001 evaluations of a run"),
        ("evaluation: {episodes: 100000, interval: 500}", "episodes (100000) makes 5,100,000 in all evaluations"),
        (f"arms: [{{criterion: magnitude, sparsity: {[i / 512 for i in range(10)]}}}]", None),
        (
            f"arms: {json.dumps([{'criterion': 'magnitude', 'sparsity': 0.5}] * 1_001)}",
            "must have at most 1,000 entries",
        ),
    ],
)
def test_sizes_have_limits(load: Callable[..., Config], text: str, said: str | None) -> None:
    if said is None:
        load(f"{MINIMAL}{text}")
        return
    with pytest.raises(ConfigError) as caught:
        load(f"{MINIMAL}{text}")
    assert str(caught.value).count("\n") == 0 and said in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("seeds", list(range(20_001)), "must have at most 20,000 entries, not 20,001"),
        ("tasks", [f"task-v{i}" for i in range(1_001)], "must have at most 1,000 entries, not 1,001"),
        ("seeds", list(range(334)), "they make 200,400 runs; the most is 200,000"),
    ],
)
def test_numbers_of_runs_have_limits(key: str, value: list[object], said: str) -> None:
    tasks = [f"task-v{i}" for i in range(200)] if "runs" in said else ["task-v0"]
    with pytest.raises(ValidationError, match=said):
        Config.model_validate({"tasks": tasks, "seeds": [0], key: value})


def test_settings_are_frozen_and_hashable(load: Callable[..., Config]) -> None:
    config = load(MINIMAL)
    with pytest.raises(ValidationError):
        config.sac.discount = 0.5
    assert hash(config.sac) == hash(SACSettings())
    hash(config.network)


def test_home_folder(load: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert load(MINIMAL + "data: ~/studies").data == Path("/home/someone/studies")


def test_byte_order_mark(load: Callable[..., Config]) -> None:
    assert load(b"\xef\xbb\xbf" + MINIMAL.encode()).seeds == (0,)


# What is shipped


def test_shipped_config_is_the_packaged_one() -> None:
    assert (ROOT / "config.yaml").read_bytes().decode() == default_config_text()


def test_shipped_config_has_every_key(load: Callable[..., Config]) -> None:
    config = load_config(ROOT / "config.yaml")
    # A config has one of the two, and contrasts only with arms.
    assert config.model_fields_set == set(Config.model_fields) - {"arms", "contrasts", "tracking", "td3", "dqn", "ppo"}
    lines = (ROOT / "config.yaml").read_text().splitlines()
    assert {"#   arms:", "#   contrasts:", "#   tracking:"} <= set(lines)
    # Nor the section of another algorithm. It is there as comments, with the defaults.
    for name, default in (("td3", TD3Settings()), ("dqn", DQNSettings()), ("ppo", PPOSettings())):
        starts = next(index for index, line in enumerate(lines) if line.startswith(f"# {name}:"))
        of_it = itertools.takewhile(lambda line: line.startswith("#"), lines[starts + 1 :])
        section = "".join(f"{line.removeprefix('#')}\n" for line in of_it)
        found = getattr(load(f"{MINIMAL}algorithm: {name}\n{name}:\n{section}"), name)
        assert found.model_fields_set == set(type(default).model_fields) and found == default
    assert config.network.model_fields_set == {*config.groups, "activation"}
    for section in (config.pruning, config.sac, config.training, config.evaluation, config.verdict):
        assert section.model_fields_set == set(type(section).model_fields)


def test_paper_configs() -> None:
    mujoco = load_config(ROOT / "configs" / "mujoco.yaml")
    assert [task.id for task in mujoco.tasks] == ["HalfCheetah-v5", "Hopper-v5", "Walker2d-v5", "Ant-v5"]
    assert (mujoco.training.env_steps, mujoco.training.warmup_steps, len(mujoco.seeds)) == (
        1_000_000,
        10_000,
        5,
    )
    metaworld = load_config(ROOT / "configs" / "metaworld.yaml")
    steps = {task.id: metaworld.training_for(task).env_steps for task in metaworld.tasks}
    late = {"reach-v3", "push-v3", "pick-place-v3"}
    assert steps == {id: 1_000_000 if id in late else 100_000 for id in steps}
    assert len(steps) == 9


def test_configs_say_how_to_run_them_and_share_no_folder() -> None:
    paths = [Path("config.yaml"), *(path.relative_to(ROOT) for path in sorted((ROOT / "configs").glob("*.yaml")))]
    configs = [load_config(ROOT / path) for path in paths]
    for path in paths:
        assert f"rlottery run {path.as_posix()}" in (ROOT / path).read_text()
    assert len({config.data for config in configs}) == len({config.name for config in configs}) == len(configs)


def test_import_is_light() -> None:
    heavy = "{'jax', 'numpy', 'gymnasium', 'metaworld', 'mujoco'}"
    code = f"import sys, rlottery.config; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# No key without an effect


def sections(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The model and all models inside it."""

    def inside(annotation: Any) -> Iterator[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from sections(annotation)
        for part in get_args(annotation):
            yield from inside(part)

    yield model
    for field in model.model_fields.values():
        yield from inside(field.annotation)


def attributes_read(tree: ast.AST) -> set[str]:
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}


class TestGroups:
    """What names networks fits the algorithm; one number means all of them."""

    DQN = "tasks: [a]\nseeds: [0]\nalgorithm: dqn\n"

    @pytest.mark.parametrize("given", ["0.9", "{q: 0.9}"])
    def test_of_dqn(self, load: Callable[..., Config], given: str) -> None:
        arms = f"arms: [{{criterion: magnitude, sparsity: [{given}, 0.5]}}]\nnetwork: {{q: [8, 4]}}\n"
        config = load(self.DQN + arms)
        assert [recipe.name for recipe in config.recipes] == ["magnitude-90", "magnitude-50"]
        assert config.recipes[0].only_sparsity == Sparsity(q=0.9)
        assert config.hidden_layers == {"q": (8, 4)}
        plain = config_to_dict(config)
        assert plain["network"] == {"q": [8, 4]} and plain["arms"][0]["sparsity"] == [0.9, 0.5]
        assert Config.model_validate(json.loads(json.dumps(plain))) == config
        built_in = load(self.DQN + f"pruning: {{sparsity: {given}}}")
        assert built_in.pruning.sparsity == Sparsity(q=0.9)
        layers = load(self.DQN + "arms: [{criterion: magnitude, allocation: {q: [0.5, 0.9, 0]}}]").recipes[0]
        assert isinstance(layers, TicketRecipe) and layers.layer_sparsities == {"q": (0.5, 0.9, 0.0)}

    @pytest.mark.parametrize(
        ("algorithm", "keys", "said"),
        [
            (
                "dqn",
                "network: {actor: [8]}",
                "network.actor: `network.actor` is of another algorithm; the networks of dqn are q: use network.q",
            ),
            (
                "sac",
                "network: {q: [8]}",
                "; the networks of sac are actor and critic: use network.actor or network.critic",
            ),
            (
                "dqn",
                "pruning: {sparsity: {actor: 0.9, critic: 0.5}}",
                "pruning.sparsity: `pruning.sparsity` names actor and critic, but the networks of dqn are q; one",
            ),
            (
                "dqn",
                "pruning: {sparsity: {actor: 0.9}}",
                "`pruning.sparsity` names actor, but the networks of dqn",
            ),
            (
                "dqn",
                "arms: [{criterion: taylor, sparsity: [0.5, {critic: 0.9}]}]",
                "`arms.0.sparsity.1` names critic, but the networks of dqn are q",
            ),
            ("dqn", "arms: [{criterion: taylor, allocation: {actor: [0.5]}}]", "`arms.0.allocation` names actor, but"),
            ("td3", "arms: [{criterion: magnitude, sparsity: {q: 0.9}}]", "names q, but the networks of td3 are actor"),
            ("dqn", "arms: [{criterion: taylor, allocation: {actor: [0.5], critic: [0]}}]", "names actor and critic"),
            (
                "dqn",
                "arms: [{criterion: taylor, allocation: {q: [0.5, 0]}}]",
                "must have 3 entries, one for each layer",
            ),
            ("dqn", "arms: [{criterion: taylor, sparsity: {q: 0.5, critic: 0}}]", "the networks of one algorithm"),
            (
                "dqn",
                "dqn: {exploration_start: 0.1, exploration_end: 0.2}",
                "(0.2) must be at most exploration_start (0",
            ),
            (
                "dqn",
                "dqn: {target_interval: 24001}",
                "target_interval (24001) must be at most the updates of a run (24000): its target would never be",
            ),
            (
                "td3",
                "td3: {policy_delay: 24001}",
                "policy_delay (24001) must be at most the updates of a run (24000): its actor would never be updated",
            ),
            (
                "td3",
                "training: {updates_per_step: {every: 24000}}",
                "policy_delay (2, its default) must be at most the updates of a run (1)",
            ),
            (
                "td3",
                "training: {updates_per_step: {every: 24001}}",
                "for at least 2 updates in a run, write {every: 12000, updates: 1}",
            ),
            (
                "td3",
                "training: {updates_per_step: 0.00001234567}",
                "for at least 2 updates in a run, write {every: 12000, updates: 1}",
            ),
            (
                "dqn",
                "training: {env_steps: 1100, updates_per_step: {every: 200}}\nevaluation: {interval: 100}",
                "for at least 500 updates in a run, write 5",
            ),
        ],
    )
    def test_another_algorithms(self, faults: Faults, algorithm: str, keys: str, said: str) -> None:
        (line,) = faults(f"tasks: [a]\nseeds: [0]\nalgorithm: {algorithm}\n{keys}")
        assert said in line

    def test_updates_that_are_just_enough(self, load: Callable[..., Config]) -> None:
        study = "tasks: [a]\nseeds: [0]\nalgorithm: td3\n"
        assert load(study + "td3: {policy_delay: 24000}").td3.policy_delay == 24_000

    def test_everything_of_another_algorithm_is_said_at_once(self, faults: Faults) -> None:
        study = "tasks: [{id: a, sac: {discount: 0.9}}]\nseeds: [0]\nnetwork: {actor: [8], critic: [8]}\nsac: {}\n"
        said = faults(study + "algorithm: dqn")
        assert [line.split(": ")[1] for line in said] == ["tasks.0.sac", "network.actor", "network.critic", "sac"]
        said = faults(study + "algorithm: ppo\ntraining: {warmup_steps: 5, updates_per_step: 1}")
        places = ["tasks.0.sac", "sac", "training.warmup_steps", "training.updates_per_step"]
        assert [line.split(": ")[1] for line in said] == places

    def test_the_command_line_chooses_another_algorithm(self, load: Callable[..., Config], faults: Faults) -> None:
        """The networks of the file's are left out with its section, but not what the command line says."""
        config = load("tasks: [a]\nseeds: [0]\nnetwork: {actor: [8], critic: [8]}\nsac: {}", "algorithm=dqn")
        assert config.hidden_layers == {"q": (256, 256)}
        (line,) = faults(MINIMAL, "algorithm=dqn", "network.actor=[8]")
        assert line.startswith("command line: network.actor=[8]: `network.actor` is of another algorithm")
        (line,) = faults(MINIMAL + "pruning: {sparsity: {actor: 0.9, critic: 0.8}}", "algorithm=dqn")
        assert line.startswith("command line: algorithm=dqn: `pruning.sparsity` names actor and critic, but")

    def test_exploration_is_checked_with_the_keys_of_tasks(self, load: Callable[..., Config], faults: Faults) -> None:
        study = "tasks: [{{id: a, dqn: {{{}}}}}]\nseeds: [0]\nalgorithm: dqn\ndqn: {{{}}}"
        assert faults(study.format("exploration_end: 0.8", "exploration_start: 0.5"), "training.env_steps=30000") == [
            "config.yaml:1: tasks.0.dqn.exploration_end: exploration_end (0.8) must be at most exploration_start (0.5)"
        ]
        config = load(study.format("exploration_start: 0.01", "exploration_end: 0.001"))
        settings = config.hyperparameters_for(config.tasks[0])
        assert isinstance(settings, DQNSettings) and settings.exploration_start == 0.01


def test_every_key_is_read() -> None:
    package = ROOT / "rlottery"
    read: set[str] = set()
    # What makes recipes of `pruning:` is no model.
    models = {*(package / "config").glob("*.py")} - {package / "config" / "built_in.py"}
    for path in package.rglob("*.py"):
        if path not in models:
            read |= attributes_read(ast.parse(path.read_text()))
    # A property or a method of a section passes its keys on, if it is read itself.
    passed_on: dict[str, set[str]] = defaultdict(set)  # several sections may have one of that name
    for path in models:
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef) and not function.name.startswith("_"):
                passed_on[function.name] |= attributes_read(function)
    for _ in range(2):  # one may pass on what another passes on
        read |= {key for name, keys in passed_on.items() if name in read for key in keys}
    read |= set(PruningSchedule.model_fields)  # `chosen` reads each by its name
    if "hyperparameters_for" in read:  # it reads the section of the algorithm's name
        read |= set(ALGORITHMS)
    keys = {f"{model.__name__}.{key}" for model in sections(Config) for key in model.model_fields}
    assert {key.partition(".")[0] for key in keys} == {
        *(
            "Config",
            "Contrast",
            "Task",
            "Pruning",
            "Sparsity",
            "NetworkSettings",
            "SACSettings",
            "TD3Settings",
            "DQNSettings",
            "PPOSettings",
            "Training",
            "Updates",
            "EvaluationSettings",
            "Verdict",
            "Tracking",
            "WandbSettings",
            "TrackioSettings",
            "MlflowSettings",
        ),
        *("TicketRecipe", "SparseTrainingRecipe", "ControlRecipe", "TransferRecipe", "PruningSchedule", "Iterative"),
        *("Gradual", "SET", "RigL", "Rewind", "Transfer", "Allocation", "LayerSparsities"),
    }
    assert {key for key in keys if key.partition(".")[2] not in read} == set()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_hyperparameter_is_read_by_its_own_algorithm(algorithm: str) -> None:
    """Not only by another one that has a key of the same name."""
    agents = ROOT / "rlottery" / "agents"
    read = attributes_read(ast.parse((agents / f"{algorithm}.py").read_text())) | {"batch_size"}  # by `Setup`
    settings = type(getattr(Config(tasks=("a",), seeds=(0,)), algorithm))
    methods = textwrap.dedent(inspect.getsource(settings))
    assert set(settings.model_fields) - read - attributes_read(ast.parse(methods)) == set()


def test_every_key_is_documented() -> None:
    models = set(sections(Config))
    assert {model.__name__ for model in models if not model.__doc__} == set()
    for model in models:
        for key, field in model.model_fields.items():
            assert field.description or field.annotation in models, f"{model.__name__}.{key}"


def test_not_a_number_is_refused_from_python_too() -> None:
    for value in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValidationError):
            SACSettings(reward_scale=value)
        with pytest.raises(ValidationError):
            Task(id="a", kwargs={"x": value})


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"gains": {0: 2.0}}, "but gains has the key 0"),
        ({"gains": {"a": [1, {None: 2.0}]}}, "but gains.a[1] has the key empty (null)"),
        ({"gains": {True: 1}}, "but gains has the key true"),
        ({"gains": {1.5: 1, "a": 2}}, "but gains has the key 1.5"),
        ({"z": [0.7, math.inf]}, "but z[1] is inf"),
        ({"z": (0.7, {"low": -math.inf})}, "but z[1].low is -inf"),
        ({"z": math.nan}, "but z is nan"),
        ({"a": 1, "day": datetime.date(2020, 1, 1)}, "but day is 2020-01-01"),
        ({"z": {1.0}}, "but z is {1.0}"),
        ({"z": np.float32(0.5)}, "but z is 0.5"),
        ({"z": b"x"}, "but z is b'x'"),
        ({"z": 10**5000}, "but z has 16610 bits"),
    ],
)
def test_arguments_that_json_would_change_are_named(kwargs: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Task(id="a", kwargs=kwargs)
    assert f"{words}. Make such values in a module of yours" in str(caught.value)


def test_arguments_arrive_as_they_were_written() -> None:
    kwargs = {"a": [1, 1.0, -0.0, True, None, "1", 2**100, 5e-324], "b c": {"0": {"": []}}, "d": 1e300}
    assert repr(json.loads(json.dumps(Task(id="a", kwargs=kwargs).kwargs))) == repr(kwargs)


class TestActivation:
    """`network.activation`, which records have only where it is not the default."""

    @pytest.mark.parametrize("algorithm", ["sac", "td3", "dqn", "ppo"])
    def test_relu_is_left_out_of_records_and_fingerprints(self, algorithm: str) -> None:
        plain = {"tasks": ["Pendulum-v1"], "seeds": [0], "algorithm": algorithm}
        usual, relu, tanh = (
            Config.model_validate(plain | network)
            for network in ({}, {"network": {"activation": "relu"}}, {"network": {"activation": "tanh"}})
        )
        assert usual.model_dump() == relu.model_dump()
        assert "activation" not in usual.model_dump()["network"]
        assert tanh.model_dump()["network"] == usual.model_dump()["network"] | {"activation": "tanh"}
        of_usual, of_relu, of_tanh = (trained_with(one, one.tasks[0]) for one in (usual, relu, tanh))
        assert of_usual == of_relu and "activation" not in of_usual["network"]
        assert list_differences(of_tanh, of_usual) == [
            "network.activation: the files have 'relu', this config asks for 'tanh'"
        ]

    @pytest.mark.parametrize("value", ["elu", "ReLU", True, None, ["tanh"]])
    def test_another_one_is_refused_with_those_that_there_are(self, value: object) -> None:
        with pytest.raises(ValidationError, match="must be relu or tanh, not "):
            Config.model_validate({"tasks": ["a"], "seeds": [0], "network": {"activation": value}})
