"""Loading a config: overrides, faults of keys and values, and files that are no config."""

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlottery.config import (
    Config,
    config_to_dict,
    load_config,
)
from rlottery.errors import ConfigError
from tests.config.conftest import Faults

ROOT = Path(__file__).parents[2]
MINIMAL = "tasks: [a]\nseeds: [0]\n"


# The command line


def test_overrides(load: Callable[..., Config]) -> None:
    config = load(
        MINIMAL + "sac: {discount: 0.9, batch_size: 0}\npruning: {sparsity: 0.8}\n",
        "tasks=[drawer-close-v3]",
        "seeds=[0,1]",
        "sac.batch_size=128",
        "training.env_steps = 1e5",
        "pruning.sparsity.actor=0.9",
        "pruning.sparsity.critic=0.5",
        "name=first",
        "name=second",
    )
    assert [task.id for task in config.tasks] == ["drawer-close-v3"]
    assert config.seeds == (0, 1)
    assert (config.sac.batch_size, config.sac.discount) == (128, 0.9)
    assert config.training.env_steps == 100_000
    assert (config.pruning.sparsity.actor, config.pruning.sparsity.critic) == (0.9, 0.5)
    assert config.name == "second"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sac.batch_size=0", "must be a whole number of at least 1, not 0"),
        ("sac.batchsize=8", "unknown key; did you mean 'batch_size'?"),
        ("sac={batch_size: 0}", "sac.batch_size: must be a whole number of at least 1, not 0"),
        ("sac={discount: 0, discount: 0}", "sac.discount: given twice, on lines 1 and 1; keep one"),
        ("tasks=[../x]", "tasks.0.id: must be an id such as"),
        ("tasks.0.id=b", "tasks is a list; give the whole list, as tasks=[...]"),
        ("seeds.x=b", "seeds is a list; give the whole list, as seeds=[...]"),
        ("seeds=", "must be a list, not empty (null)"),
        ("seeds=3", "must be a list, not 3; write seeds='[0, 1, 2]' for 3 seeds, or seeds='[3]' for seed 3"),
        ("seeds=1", "must be a list, not 1; write seeds='[0]' for 1 seed, or seeds='[1]' for seed 1"),
        ("seeds=0", "must be a list, not 0; write seeds='[0]'"),
        ("seeds=0, 1", "must be a list, not '0, 1'; write seeds='[0, 1]'"),
        ("seeds=range(5)", "must be a list, not 'range(5)', such as seeds='[0, 1, 2, 3, 4]'"),
        ("seeds=true", "must be a list, not true"),
        ("tasks=Pendulum-v1", "must be a list, not 'Pendulum-v1'; write tasks='[Pendulum-v1]'"),
        ("tasks=mine:Pendulum-v1", "must be a list, not 'mine:Pendulum-v1'; write tasks='[mine:Pendulum-v1]'"),
        ("contrasts=a > b", "must be a list, not 'a > b'; write contrasts='[a > b]'"),
        ("contrasts='a > [b'", """must be a list, not 'a > [b'; write contrasts='["a > [b"]'"""),
        ("contrasts=a > b, b > c", "must be a list, not 'a > b, b > c'; write contrasts='[a > b, b > c]'"),
        ("seeds='3'", "must be a list, not '3'; write seeds='[0, 1, 2]' for 3 seeds, or seeds='[3]' for seed 3"),
        (
            "seeds=30",
            "must be a list, not 30, such as seeds='[0, 1, 2, ...]' for 30 seeds, or seeds='[30]' for seed 30",
        ),
        ("seeds=0_2", "must be a list, not '0_2', such as seeds='[0, 1, 2, 3, 4]'"),
        ("seeds=007", "must be a list, not '007', such as seeds='[0, 1, 2, 3, 4]'"),
        ("seeds=-1", "must be a list, not -1, such as seeds='[0, 1, 2, 3, 4]'"),
        ("network.actor=64, 64", "must be a list, not '64, 64'; write network.actor='[64, 64]'"),
        ("tasks='1'", """must be a list, not '1'; write tasks='["1"]'"""),
        ("pruning.controls='random'", "must be a list, not 'random'; write pruning.controls='[random]'"),
        ("name.x=b", "name: must be 1 to 64 letters"),
        ("pruning.sparsity=90", "must be a number from 0 to below 1, not 90; write 0.9 for 90 %"),
        ("pruning.sparsity=90%", "must be a number from 0 to below 1, not '90%'; write 0.9 for 90 %"),
        ("pruning.sparsity=99.95", "must be a number from 0 to below 1, not 99.95; write 0.9995 for 99.95 %"),
        ("verdict.level=5", "must be a number above 0 and at most 0.2, not 5; write 0.05 for 5 %"),
        (
            "arms=[{criterion: magnitude, sparsity: [0.9, 95]}]",
            "arms.0.sparsity.1: must be a number from 0 to below 1, not 95; write 0.95 for 95 %",
        ),
        (
            "arms=[{criterion: magnitude, allocation: {actor: [50], critic: [0.5]}}]",
            "arms.0.allocation.actor.0: must be a number from 0 to below 1, not 50; write 0.5 for 50 %",
        ),
        ("pruning.sparsity.actor=0.5", "pruning.sparsity.critic: missing"),
        ("seeds=[0", "the value is not valid YAML: "),
        ("seeds=&a [0]", "the value is not valid YAML: anchors and aliases"),
        ("seeds", "expected key.path=value, such as sac.batch_size=128"),
        ("=1", "expected key.path=value"),
        ("sac..x=1", "expected key.path=value"),
        ("training.env_steps=500", "warmup_steps (1000) must be less than env_steps (500)"),
    ],
)
def test_faults_of_an_override_name_it(faults: Faults, override: str, message: str) -> None:
    found = faults(MINIMAL + "evaluation: {score_evaluations: 1, interval: 100}\n", override)
    assert len(found) == 1
    assert found[0].startswith(f"command line: {override}: {message}")


@pytest.mark.parametrize(
    "override",
    [
        *(f"pruning.sparsity={value}" for value in ("100", "1", "-50", "true", "90 points", "1e400", "200%")),
        "sac.discount=99",  # nobody counts it in per cent
    ],
)
def test_what_is_no_percentage_gets_no_fraction(faults: Faults, override: str) -> None:
    (found,) = faults(MINIMAL, override)
    assert "must be a number from 0 to below 1, not " in found and "write" not in found


MISSPELT = [
    ("algorithm=sca", "sac"),
    ("device=GPU", "cuda"),
    ("workers=atuo", "auto"),
    ("sac.target_entropy=Auto", "auto"),
    ("network.activation=tahn", "tanh"),
    ("other_versions=refus", "refuse"),
    ("pruning.allocation=Uniform", "uniform"),
    ("pruning.gradient_method=tayler", "taylor"),
    ("pruning.controls=[randm]", "random"),
    ("tracking=wandbb", "wandb"),
    ("tracking.wandb.mode=ofline", "offline"),
    ("tasks=[{id: Pendulum-v1, allow: [carry-over]}]", "carryover"),
    ("contrasts=[{claim: a > b, measure: scores}]", "score"),
    ("arms=[{criterion: magnitude, sparsity: 0.5, allocation: ekr}]", "erk"),
    ("arms=[{criterion: magnitude, sparsity: 0.5, structure: unit}]", "units"),
    ("arms=[{criterion: magnitude, sparsity: 0.5, estimator: mean_abs}]", "mean-abs"),
    ("arms=[{criterion: magnitude, sparsity: 0.5, schedule: itrative}]", "iterative"),
    ("arms=[{criterion: magnitude, sparsity: 0.5, schedule: {rigel: {drop: 0.5}}}]", "rigl"),
    ("arms=[{criterion: magnitude, sparsity: 0.5, rewind: inital}]", "initial"),
]


@pytest.mark.parametrize(("override", "meant"), MISSPELT)
def test_a_misspelt_value_gets_the_closest_one(faults: Faults, override: str, meant: str) -> None:
    (found,) = faults(MINIMAL, override)
    assert found.endswith(f"; did you mean '{meant}'?")


@pytest.mark.parametrize(
    "override",
    ["network.actor=64 64", "network.actor=256x256", "network.actor=0", "tasks='a: b'", "contrasts=a"],
)
def test_a_list_that_would_be_refused_too_is_not_suggested(faults: Faults, override: str) -> None:
    (found,) = faults(MINIMAL, override)
    assert found.startswith(f"command line: {override}: must be a list, not ") and "write" not in found


def test_a_block_of_text_in_place_of_a_list_has_one_line_in_the_message(faults: Faults) -> None:
    """As YAML that can be pasted, and for other algorithms too."""
    (found,) = faults(MINIMAL + "contrasts: |\n  a > b\n")
    assert found.endswith("; write contrasts: [a > b]")
    (found,) = faults(MINIMAL + "contrasts: |\n  a > b\n  c > d\n")
    assert "\n" not in found and "write" not in found
    found, *_ = faults(MINIMAL, "algorithm=dqn", "network={q: 64 64}")
    assert "q: must be a list, not '64 64'" in found and "write" not in found


def test_an_override_is_blamed_only_for_what_it_says(faults: Faults) -> None:
    assert faults(MINIMAL + "sac:\n  discount: 2\n", "sac.batch_size=0", "seeds=[]") == [
        "config.yaml:4: sac.discount: must be a number from 0 to below 1, not 2",
        "command line: sac.batch_size=0: must be a whole number of at least 1, not 0",
        "command line: seeds=[]: must have at least one entry",
    ]


# Faults of keys and values


def test_every_fault_is_named_at_once_with_its_line(faults: Faults) -> None:
    text = (
        "tasks:\n"
        "  - a\n"
        "  - id: b\n"
        "    sac:\n"
        "      batch_size: true\n"
        "      discont: 0.9\n"
        "seeds: [0]\n"
        "\n"
        "pruning:\n"
        "  # a comment\n"
        "  sparsty: 0.8\n"
        "network: {actor: [64, 0]}\n"
        "env_steps: 3\n"
    )
    assert faults(text) == [
        "config.yaml:5: tasks.1.sac.batch_size: must be a whole number of at least 1, not true",
        "config.yaml:6: tasks.1.sac.discont: unknown key; did you mean 'discount'?",
        "config.yaml:11: pruning.sparsty: unknown key; did you mean 'sparsity'?",
        "config.yaml:12: network.actor.1: must be a whole number of at least 1, not 0",
        "config.yaml:13: env_steps: unknown key; did you mean 'training.env_steps'?",
    ]


COUNT = "must be a whole number of at least 1, not "
ABOVE_ZERO = "must be a number above 0, not "
TO_ONE = "must be a number above 0 and at most 1, not "
BELOW_ONE = "must be a number from 0 to below 1, not "
UPDATES = (
    "must be a whole number of at least 1, a fraction such as 0.25 (an update every 4 steps) or "
    "{every: 8, updates: 2}, not "
)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("name", "../x", "must be 1 to 64 letters, digits, '_', '-' and single '.', not '../x'"),
        ("name", "a/b", "must be 1 to 64 letters, digits, '_', '-' and single '.', not 'a/b'"),
        ("name", "5", "must be 1 to 64 letters, digits, '_', '-' and single '.', not 5; put it in quotes: name: \"5\""),
        ("data", "''", "must be the path of a folder, not ''"),
        ("data", '"a\\0b"', "must be the path of a folder, not 'a\\x00b'"),
        ("data", "[a]", "must be the path of a folder, not a list"),
        ("data", "~nobody-here/x", "names a home folder that doesn't exist: '~nobody-here/x'"),
        ("workers", "0", "must be a whole number of at least 1, or auto, not 0"),
        ("workers", "many", "must be a whole number of at least 1, or auto, not 'many'"),
        ("device", "gpu", "must be cpu or cuda, not 'gpu'; did you mean 'cuda'?"),
        ("keep_replay", "1", "must be true or false, not 1"),
        ("pruning.sparsity", "1", BELOW_ONE + "1"),
        ("pruning.sparsity", "-0.1", BELOW_ONE + "-0.1"),
        ("pruning.sparsity", "80 %", BELOW_ONE + "'80 %'; write 0.8 for 80 %"),
        ("pruning.sparsity", "true", BELOW_ONE + "true"),
        ("pruning.sparsity", ".nan", BELOW_ONE + "nan"),
        (
            "pruning.gradient_method",
            "tailor",
            "must be taylor, gradient or magnitude, not 'tailor'; did you mean 'taylor'?",
        ),
        ("pruning.controls", "random", "must be a list, not 'random'; write controls: [random]"),
        ("pruning.controls", "[random, random]", "must be distinct; given more than once: random"),
        ("pruning.allocation", "erc", "must be global, uniform or erk, not 'erc'; did you mean 'erk'?"),
        ("pruning.num_gradient_batches", "0", COUNT + "0"),
        ("pruning.gradient_batch_size", "2.5", COUNT + "2.5"),
        ("pruning", "[0.8]", "must be a mapping of keys, not a list"),
        ("pruning", "", "must be a mapping of keys, not empty (null)"),
        ("network.actor", "[]", "must have at least one entry"),
        ("network.critic", "256", "must be a list, not 256; write critic: [256]"),
        ("sac.discount", "1", BELOW_ONE + "1"),
        ("sac.polyak", "0", TO_ONE + "0"),
        ("sac.polyak", "1.5", TO_ONE + "1.5"),
        ("sac.actor_learning_rate", "0", TO_ONE + "0"),
        ("sac.critic_learning_rate", "'3e-4'", TO_ONE + "'3e-4'; leave the quotes out"),
        ("sac.temperature_learning_rate", "-1e-3", TO_ONE + "-0.001"),
        ("sac.initial_temperature", "0", ABOVE_ZERO + "0"),
        ("sac.initial_temperature", ".inf", ABOVE_ZERO + "inf"),
        ("sac.reward_scale", "1e999", ABOVE_ZERO + "inf"),
        ("sac.reward_scale", "false", ABOVE_ZERO + "false"),
        ("sac.target_entropy", "-.inf", "must be a number, or auto, not -inf"),
        ("sac.target_entropy", "Auto", "must be a number, or auto, not 'Auto'; did you mean 'auto'?"),
        ("sac.batch_size", "0", COUNT + "0"),
        ("training.env_steps", "1e30", "must be at most 2,147,483,647, not 1e+30"),
        ("training.env_steps", "010", COUNT + "'010'"),
        ("training.env_steps", "1:30", COUNT + "'1:30'"),
        ("training.env_steps", "2001-01-01", COUNT + "'2001-01-01'"),
        ("training.warmup_steps", "-1", "must be a whole number of at least 0, not -1"),
        ("training.updates_per_step", "0", UPDATES + "0"),
        ("training.updates_per_step", "1/4", UPDATES + "'1/4'"),
        ("training.updates_per_step", "-0.25", UPDATES + "-0.25"),
        ("training.updates_per_step", "'0.25'", UPDATES + "'0.25'; leave the quotes out"),
        ("training.updates_per_step", "0.3333", ("must be a fraction that comes out even within 1,000 environment "
         "steps, not 0.3333; write {every: 3, updates: 1}")),
        ("training.updates_per_step", "3e9", "must be at most 2,147,483,647, not 3000000000"),
        ("training.environments", "0", COUNT + "0"),
        ("training.environments", "1025", "must be at most 1,024, not 1025"),
        ("training.replay_capacity", "0", "must be a whole number of at least 1, or all, not 0"),
        ("evaluation.interval", "0", COUNT + "0"),
        ("evaluation.episodes", "0", COUNT + "0"),
        ("evaluation.score_evaluations", "0", COUNT + "0"),
        ("evaluation.episode", "1", "unknown key; did you mean 'episodes'?"),
        ("pruning.colour", "1", ("unknown key; the keys here are sparsity, controls, allocation, gradient_method, "
         "num_gradient_batches, gradient_batch_size, reclaim")),
    ],
)  # fmt: skip
def test_fault_of_one_key(faults: Faults, key: str, value: str, message: str) -> None:
    section, _, inner = key.partition(".")
    line, text = (4, f"{section}:\n  {inner}: {value}\n") if inner else (3, f"{section}: {value}\n")
    assert faults(MINIMAL + text) == [f"config.yaml:{line}: {key}: {message}"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: [0]\n", "config.yaml: tasks: missing; it has no default"),
        ("tasks: [a]\n", "config.yaml: seeds: missing; it has no default"),
        ("tasks: []\nseeds: [0]", "config.yaml:1: tasks: must have at least one entry"),
        ("tasks: a\nseeds: [0]", "config.yaml:1: tasks: must be a list, not 'a'; write tasks: [a]"),
        ("tasks: [a]\nseeds: []", "config.yaml:2: seeds: must have at least one entry"),
        (
            "tasks: [a]\nseeds: [0, -1]",
            "config.yaml:2: seeds.1: must be a whole number of at least 0, not -1",
        ),
        (
            "tasks: [a]\nseeds:\n- 2\n- 1\n- 2",
            "config.yaml:2: seeds: must be distinct; given more than once: 2",
        ),
        (
            "seeds: [0]\ntasks:\n- a\n- 5",
            "config.yaml:4: tasks.1: must be a task's id or a mapping with an id, not 5",
        ),
        (
            "tasks: [a]\nseeds: [0]\npruning: {controls: [random, shufled]}",
            "config.yaml:3: pruning.controls.1: must be one of random, random-erk, shuffled, first-layer, inverted, "
            "permuted-weights, fresh-weights, small-dense, dense-again, not 'shufled'; did you mean 'shuffled'?",
        ),
        (
            "tasks: [a]\nseeds: [0]\npruning:\n  sparsity: 0\n  controls:\n  - fresh-weights\n  - random",
            "config.yaml:7: pruning.controls.1: magnitude-0 prunes nothing, so random would have the same mask; leave "
            "it out",
        ),
        ("seeds: [0]\ntasks:\n- a\n- kwargs: {}", "config.yaml:4: tasks.1.id: missing; it has no default"),
        (
            "seeds: [0]\ntasks:\n- a\n- id: b\n  kwarg: {}",
            "config.yaml:5: tasks.1.kwarg: unknown key; did you mean 'kwargs'?",
        ),
        (
            "seeds: [0]\ntasks:\n- id: b\n  kwargs: {x: [.inf]}",
            "config.yaml:4: tasks.0.kwargs: may contain only finite numbers, text, true, false, null, lists and mapp",
        ),
        (
            "seeds: [0]\ntasks:\n- id: b\n  kwargs:\n    gains: {'1': 1.0,\n      0: 2.0}",
            "config.yaml:6: tasks.0.kwargs.gains.0: a key must be text; put it in quotes: '0'",
        ),
        ("seeds: [0]\ntasks: [{id: b, kwargs: {on: 1}}]", "config.yaml:2: tasks.0.kwargs.on: a key must be text"),
        ("seeds: [0]\ntasks: [{id: b, kwargs: {g: {~: 1}}}]", "config.yaml:2: tasks.0.kwargs.g.~: a key must be text"),
        (
            "seeds: [0]\ntasks: [{id: b, kwargs: {g: {1e3: 1}}}]",
            "config.yaml:2: tasks.0.kwargs.g.1e3: a key must be text",
        ),
        ("seeds: [0]\ntasks: [a, 'm:b', m_b]", "config.yaml:2: tasks: m:b and m_b would share their files"),
        ("seeds: [0]\ntasks: [a, A]", "config.yaml:2: tasks: a and A would share their files"),
        (
            MINIMAL + "sac:\n  discount: 0.9\n  batch_size: 3\n  discount: 0.8",
            "config.yaml:6: sac.discount: given twice, on lines 4 and 6; keep one",
        ),
        (
            MINIMAL + "sac: {[1]: 2}",
            "config.yaml:3: sac.?: a key must be plain text, not a list or a mapping",
        ),
        (MINIMAL + "sac.discount: 1", "config.yaml:3: sac.discount: unknown key; in a file keys are nested"),
        (MINIMAL + "<<: {name: x}", "config.yaml:3: <<: unknown key"),
        (MINIMAL + '"\\e[2J": x', "config.yaml:3: \\x1b[2J: unknown key"),
    ],
)
def test_fault_of_a_document(faults: Faults, text: str, message: str) -> None:
    (fault,) = faults(text)
    assert fault.startswith(message)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            MINIMAL + "training:\n  env_steps: 5000\n  warmup_steps: 5000\nevaluation: {score_evaluations: 1}\n",
            ["config.yaml:5: training.warmup_steps: warmup_steps (5000) must be less than env_steps (5000)"],
        ),
        (
            MINIMAL + "evaluation:\n  interval: 25001\n  score_evaluations: 1\n",
            ["config.yaml:4: evaluation.interval: interval (25001) must be at most env_steps (25000)"],
        ),
        (
            MINIMAL + "evaluation:\n  interval: 10000\n  score_evaluations: 4\n",
            [
                (
                    "config.yaml:5: evaluation.score_evaluations: score_evaluations (4) must be at most the "
                    "evaluations of a run (3: one per 10000 steps in 25000)"
                )
            ],
        ),
        # A default has no line: the key that disagrees with it is blamed.
        (
            MINIMAL + "training: {env_steps: 5000}",
            [
                (
                    "config.yaml:3: training.env_steps: score_evaluations (3) must be at most the evaluations "
                    "of a run (2: one per 2500 steps in 5000)"
                )
            ],
        ),
        # A task's own settings count for that task.
        (
            (
                "tasks:\n  - a\n  - id: b\n    training:\n      env_steps: 5000\nseeds: [0]\n"
                "training: {warmup_steps: 6000}\nevaluation: {score_evaluations: 1}\n"
            ),
            [("config.yaml:5: tasks.1.training.env_steps: warmup_steps (6000) must be less than env_steps (5000)")],
        ),
        (
            MINIMAL + "training: {env_steps: 9000, updates_per_step: {every: 8001, updates: 9}}\n",
            [
                "config.yaml:3: training.updates_per_step: updates_per_step ({every: 8001, updates: 9}) makes the "
                "first update after step 9001, but env_steps is 9000; for a single update in a run, write "
                "{every: 8000, updates: 1}"
            ],
        ),
        # All environments take a step together.
        (
            MINIMAL + "training: {environments: 3}\n",
            [
                "config.yaml:3: training.environments: environments (3) must divide training.env_steps (25000) and "
                "training.warmup_steps (1000) and evaluation.interval (2500); the nearest are 2 and 4; or set "
                "training.env_steps to 24999 or 25002, training.warmup_steps to 999 or 1002 and evaluation.interval "
                "to 2499 or 2502"
            ],
        ),
        (
            "tasks: [{id: a, allow: [carryover, interference]}]\nseeds: [0]\ntraining: {environments: 2}\n",
            [
                "config.yaml:3: training.environments: environments (2) needs episodes that follow from their seeds "
                "alone, but a allows carryover and interference; set it to 1 for this task"
            ],
        ),
        # Two tasks that share a setting find one fault.
        (
            "tasks: [a, b]\nseeds: [0]\ntraining: {warmup_steps: 25000}",
            [("config.yaml:3: training.warmup_steps: warmup_steps (25000) must be less than env_steps (25000)")],
        ),
    ],
)
def test_keys_that_disagree(faults: Faults, text: str, expected: list[str]) -> None:
    assert faults(text) == expected


def test_score_may_count_every_evaluation(load: Callable[..., Config]) -> None:
    text = MINIMAL + "evaluation: {interval: 10000, score_evaluations: 3}"
    assert load(text).evaluation.score_evaluations == 3


@pytest.mark.parametrize(
    ("algorithm", "key", "said"),
    [
        ("td3", "training.batch_size", "did you mean 'td3.batch_size'?"),
        ("td3", "discount", "did you mean 'td3.discount'?"),
        ("ppo", "training.rollout_steps", "did you mean 'ppo.rollout_steps'?"),
        ("dqn", "training.exploration_steps", "did you mean 'dqn.exploration_steps'?"),
        ("sac", "training.warmup_step", "did you mean 'warmup_steps'?"),
        ("ppo", "training.warmup_step", "the keys here are env_steps, replay_capacity, environments"),
        ("td3", "training.target_interval", "the keys here are env_steps, warmup_steps, updates_per_step"),
        ("dqn", "network.hidden", "the keys here are q, activation"),
        ("td3", "interval", "did you mean 'evaluation.interval'?"),
        ("td3", "id", "the keys here are name, data"),
    ],
)
def test_only_keys_that_the_algorithm_reads_are_suggested(faults: Faults, algorithm: str, key: str, said: str) -> None:
    (line,) = faults(MINIMAL + f"algorithm: {algorithm}", f"{key}=1")
    assert f"unknown key; {said}" in line


def test_many_faults_are_cut_short(faults: Faults) -> None:
    found = faults(MINIMAL + "".join(f"key{number}: 1\n" for number in range(60)))
    assert len(found) == 51
    assert found[-1] == "and 10 more faults"


# Text that YAML reads as something else


@pytest.mark.parametrize("written", ["2024", "3.10", "1e4", "1_000", "on", "Yes", "NO", "true", "null", "~", ".inf"])
@pytest.mark.parametrize(
    ("text", "place", "fix"),
    [
        ("name: {}\n", "name", 'name: "{}"'),
        ("data: {}\n", "data", 'data: "{}"'),
        ("tasks: [b, {}]\n", "tasks.1", '"{}"'),
        ("tasks:\n  - id: {}\n", "tasks.0.id", 'id: "{}"'),
        ("arms: [{{name: {}, criterion: magnitude, sparsity: 0.5}}]\n", "arms.0.name", 'name: "{}"'),
        ("arms: [{{criterion: {}, sparsity: 0.5}}]\n", "arms.0.criterion", 'criterion: "{}"'),
        ("arms: [{{transfer: {{file: {}}}}}]\n", "arms.0.transfer.file", 'file: "{}"'),
        ("arms: [{{control: random, of: {}}}]\n", "arms.0.of", 'of: "{}"'),
    ],
)
def test_text_needs_quotes(faults: Faults, written: str, text: str, place: str, fix: str) -> None:
    if written in ("null", "~") and place.startswith("arms"):
        return  # as if the key weren't given
    filled = text.format(written)
    found = faults(filled + "".join(line for line in MINIMAL.splitlines(True) if line[:5] != text[:5]))
    assert len(found) == 1 and f" {place}: must be " in found[0]
    assert found[0].endswith(f"; put it in quotes: {fix.format(written)}")


def test_text_on_the_command_line_needs_quotes_of_its_own(faults: Faults, load: Callable[..., Config]) -> None:
    hint = """; put it in quotes: name='"2024"'"""
    assert faults(MINIMAL, "name=2024")[0].endswith(hint)
    assert load(MINIMAL, 'name="2024"').name == "2024"
    assert faults(MINIMAL, "tasks=[3.10]")[0].endswith('; put it in quotes: "3.10"')
    assert "quotes" not in faults(MINIMAL + "name: 2024\n", "name=a/b")[0]
    assert "quotes" not in faults(MINIMAL + "name:\n")[0]


# Files that are no config


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "config.yaml: it has no keys; `rlottery init` writes a commented one"),
        ("# nothing\n", "config.yaml: it has no keys"),
        ("- a\n", "config.yaml: the top level must be a mapping of keys to values, not a list"),
        ("words\n", "config.yaml: the top level must be a mapping of keys to values, not 'words'"),
        (b"name: \xff\n", "config.yaml:1: this is not UTF-8 text; save the file as UTF-8"),
        (b"a: 1\nname: \xff\n", "config.yaml:2: this is not UTF-8 text"),
        (
            b"\x89PNG\r\n\x1a\n",
            "config.yaml: this is a PNG image, not a YAML file; `rlottery init` writes a commented one",
        ),
        (b"# long\n" * 1_000 + b"name: \xff\n", "config.yaml:1001: this is not UTF-8 text"),
        (MINIMAL.encode("utf-16"), "config.yaml:1: this is not UTF-8 text"),
        (
            "a: 1\nb: [1\nc: 2\n",
            "config.yaml:3:2: not valid YAML: while parsing a flow sequence: expected ','",
        ),
        (
            "a:\n\tb: 1\n",
            "config.yaml:2:1: not valid YAML: while scanning for the next token: found character",
        ),
        ("a: 1\n---\nb: 1\n", "config.yaml:2:1: not valid YAML: expected a single document in the stream"),
        ("a: \0\n", "config.yaml:1:4: not valid YAML: the character '\\x00' is not allowed"),
        ('a: "\\UFFFFFFFF"\n', "config.yaml:1:7: not valid YAML: a number out of range"),
        ("a: !!python/object/apply:os.getcwd []\n", "config.yaml:1:4: not valid YAML: tags (!) are not supported"),
        ("a: &b 1\nc: *b\n", "config.yaml:1:4: not valid YAML: anchors and aliases (& and *) are not supported"),
        ("a: *b\n", "config.yaml:1:4: not valid YAML: anchors and aliases (& and *) are not supported"),
    ],
)
def test_no_config_in_it(faults: Faults, content: str | bytes, message: str) -> None:
    (fault,) = faults(content)
    assert fault.startswith(message)


def test_tabs_are_explained(faults: Faults) -> None:
    assert faults("a:\n\tb: 1\n")[0].endswith("(a tab: indent with spaces)")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path / "none.yaml")
    assert str(error.value) == f"{tmp_path}/none.yaml: there is no such file; `rlottery init` writes a commented one"


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="this is a folder; give the path of a config file"):
        load_config(tmp_path)


def test_impossible_path() -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        load_config("a\0b")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("#" * (2**20 + 1), "larger than 1 MiB"),
        ("a: [" + "1," * 500_000, "more than 20000 values"),
        ("[" * 1_000_000, "nested more than 32 levels deep"),
        ("- " * 500_000, "nested more than 32 levels deep"),
        ("seeds: 1" + ":1" * 500_000, "seeds: must be a list"),
        ("seeds: " + "1" * 1_000_000, "seeds: must be a list"),
        ("seeds: [" + "1," * 19_000 + "]", "seeds: must be distinct"),
        ("a: &a [x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(99)), "anchors and aliases"),
    ],
    ids=["bytes", "values", "flow depth", "block depth", "base 60", "digits", "seeds", "laughs"],
)
def test_hostile_files_are_refused_soon(faults: Faults, content: str, message: str) -> None:
    start = time.process_time()
    assert any(message in fault for fault in faults(content))
    assert time.process_time() - start < 10


WORDS = "tasks seeds pruning sparsity sac discount training env_steps id kwargs a 0 1e6 .nan - : [ ] { } , ? | >"
SIGNS = "' \" \\ \\U \\x FFFFFFFF & * ! !!int % %YAML --- ... # @ ` ~ null true << ="
CHARACTERS = "é\ufeff\x85\u2028\0\r\n\t"
FRAGMENTS = st.sampled_from(
    [*WORDS.split(" "), *SIGNS.split(" "), *CHARACTERS, "- ", ": ", "? ", "%YAML ", "\n  ", "\n    "]
)
YAMLISH = st.one_of(
    st.text(),
    st.lists(FRAGMENTS, max_size=40).map("".join),
    st.lists(FRAGMENTS, max_size=20).map(lambda parts: MINIMAL + "".join(parts)),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(Config.model_fields)), inner),
    ).map(json.dumps),
)


@settings(max_examples=400)
@given(content=st.one_of(YAMLISH.map(lambda text: text.encode("utf-8", "surrogatepass")), st.binary()))
def test_no_file_raises_anything_but_config_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "anything.yaml"
    path.write_bytes(content)
    try:
        config = load_config(path)
    except ConfigError:
        return
    assert Config.model_validate(config_to_dict(config)) == config


@settings(max_examples=200)
@given(overrides=st.lists(st.one_of(YAMLISH, YAMLISH.map("seeds=".__add__), YAMLISH.map("sac.".__add__)), max_size=3))
def test_no_override_raises_anything_but_config_error(overrides: list[str]) -> None:
    with contextlib.suppress(ConfigError):
        load_config(ROOT / "configs" / "smoke.yaml", overrides)
