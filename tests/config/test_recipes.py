"""Recipes: what the config's `arms:` may ask for, against messages and values written by hand."""

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rlottery.config import Config, config_to_dict, load_config, recipes
from rlottery.config.expand import RecipeError, spread
from rlottery.config.recipes import Recipe, parse_recipe, percent
from rlottery.config.schedules import MAX_ROUNDS
from rlottery.errors import ConfigError

STUDY = """\
tasks: [Pendulum-v1]
seeds: [0, 1]
network: {actor: [32, 32], critic: [32, 32]}
training: {env_steps: 1200, warmup_steps: 200}
evaluation: {interval: 400, episodes: 1, score_evaluations: 1}
"""
MAG = "{name: mag, criterion: magnitude, sparsity: 0.9}"
RULE = (
    "must be global, uniform or erk, or the sparsity of each layer: {actor: [0.5, 0.9, 0.5], critic: [0.5, 0.9, 0.5]}, "
    "or {q: [0.5, 0.9, 0.5]} of dqn, not "
)
SCHEDULES = "must be one-shot, iterative, gradual, set or rigl, or one of them with its keys: {rigl: {drop: 0.5}}, not "
REWIND = "must be initial, none, or {step: k} with a whole number of env steps above 0, not "
NAME = "must be 1 to 64 letters, digits, '_', '-' and single '.', and neither dense nor with '.round-' in it, not "
SHARE = "must be a number from 0 to below 1, not "
KEYS = (
    "the keys here are name, criterion, sparsity, allocation, floor, structure, reclaim, batches, batch_size, "
    "estimator, schedule, rewind, rescale, control, of, transfer"
)
MOVES = "reclaim moves weights between layers"
INITIAL = "snip scores the weights as they are before training"
OF = "of belongs to a control or a transfer; add one of them, such as control: random"
OTHER = "use another criterion, such as magnitude"
LAYERS = "allocation: {actor: [0.5, 0.9, 0.5], critic: [0.5, 0.9, 0.5]}"

Fault = Callable[..., str]


@pytest.fixture
def fault(tmp_path: Path) -> Fault:
    """The one line that a study of these arms (flow mappings, one a line) is refused with, after `config.yaml:`."""

    def fault(*arms: str, study: str = STUDY, overrides: tuple[str, ...] = ()) -> str:
        path = tmp_path / "config.yaml"
        path.write_text("\n  - ".join(["arms:", *arms]) + f"\n{study}")
        with pytest.raises(ConfigError) as error:
            load_config(path, overrides, runs_code=True)
        (line,) = str(error.value).splitlines()
        return line.removeprefix(f"{tmp_path}/config.yaml:")

    return fault


def recipe(**keys: Any) -> Recipe:
    return parse_recipe(keys)


def names(*arms: dict[str, Any]) -> list[str | None]:
    return [one.name for one in spread([parse_recipe(each) for each in arms])]


def test_every_key_belongs_to_some_kind_of_arm() -> None:
    kinds = (recipes.TicketRecipe, recipes.SparseTrainingRecipe, recipes.ControlRecipe, recipes.TransferRecipe)
    assert sorted(recipes.KEYS) == sorted({key for kind in kinds for key in kind.model_fields})


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ({"criterion": "magnitude", "sparsity": 0.9}, recipes.TicketRecipe),
        ({"criterion": "magnitude", "sparsity": 0.9, "schedule": "iterative"}, recipes.TicketRecipe),
        ({"schedule": "gradual", "sparsity": 0.9}, recipes.SparseTrainingRecipe),
        ({"schedule": {"rigl": {"drop": 0.5}}, "sparsity": 0.9}, recipes.SparseTrainingRecipe),
        ({"control": "dense-again"}, recipes.ControlRecipe),
        ({"transfer": {"seed": "next"}, "of": "mag"}, recipes.TransferRecipe),
    ],
)
def test_the_keys_say_which_kind_of_arm_it_is(keys: dict[str, Any], kind: type) -> None:
    assert type(recipe(**keys)) is kind


# What is refused


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ("{}", "must be a list, not a mapping"),
        ("null", "must be a list, not empty (null)"),
        ("mag", "must be a list, not 'mag', such as arms: [{criterion: magnitude, sparsity: 0.8}]"),
        ("{mag: {criterion: magnitude}}", "must be a list, not a mapping"),
        ("[]", "must have at least one entry; without this key, a study has the arms of pruning"),
    ],
)
def test_no_list_of_arms(tmp_path: Path, arms: str, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"arms: {arms}\n{STUDY}")
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert str(error.value) == f"{path}:1: arms: {message}"


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ("mag", "arms.0: must be a mapping of keys, not 'mag'"),
        ("5", "arms.0: must be a mapping of keys, not 5"),
        ("null", "arms.0: must be a mapping of keys, not empty (null)"),
        ("{}", "arms.0: missing: sparsity, the share of the kernel weights to prune"),
        ("{sparsity: 0.9, criterion: magnitude, flor: 1}", "arms.0.flor: unknown key; did you mean 'floor'?"),
        (
            "{sparsity: 0.9, criterion: taylor, batchsize: 1}",
            "arms.0.batchsize: unknown key; did you mean 'batch_size'?",
        ),
        # The entry's own keys are meant, not those of another section.
        ("{sparsity: 0.9, criterion: magnitude, seed: 1}", f"arms.0.seed: unknown key; {KEYS}"),
        ("{sparsity: 0.9, criterion: taylor, env_steps: 3}", f"arms.0.env_steps: unknown key; {KEYS}"),
    ],
)
def test_no_recipe(fault: Fault, arm: str, message: str) -> None:
    assert fault(arm) == f"2: {message}"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        # Names
        ("name: 5", 'name: must be text, not 5; put it in quotes: name: "5"'),
        ("name: [a]", "name: must be text, not a list"),
        *(
            (f"name: {text!r}", f"name: {NAME}{text!r}")
            for text in (
                "",
                "a/b",
                "..",
                "a..b",
                "a.",
                ".a",
                "-a",
                "a b",
                "é",
                "dense",
                "Dense",
                "a.round-1",
                "a.ROUND-1",
                "x" * 65,
            )
        ),
        # Sparsity, at the place where it was written
        ("sparsity: null", "missing: sparsity, the share of the kernel weights to prune"),
        ("sparsity: []", "sparsity: must have at least one entry"),
        *(
            (f"sparsity: {given}", f"sparsity: {SHARE}{shown}")
            for given, shown in (
                ("1", "1"),
                ("1.0", "1"),
                ("-0.1", "-0.1"),
                ("90", "90; write 0.9 for 90 %"),
                ("90%", "'90%'; write 0.9 for 90 %"),
                ("true", "true"),
                (".nan", "nan"),
                (".inf", "inf"),
            )
        ),
        ("sparsity: [0.8, 1]", f"sparsity.1: {SHARE}1"),
        ("sparsity: [null]", f"sparsity.0: {SHARE}empty (null)"),
        ("sparsity: [[0.8]]", f"sparsity.0: {SHARE}a list"),
        ("sparsity: {actor: 0.8}", "sparsity.critic: missing; it has no default"),
        ("sparsity: {actor: 0.8, critic: 1}", f"sparsity.critic: {SHARE}1"),
        ("sparsity: {actor: 0.8, critic: null}", f"sparsity.critic: {SHARE}empty (null)"),
        (
            "sparsity: {actor: 0, critic: 0, q: 0}",
            "sparsity: must name the networks of one algorithm, actor and critic or q, not {actor: 0, critic: 0, q: 0}",
        ),
        ("sparsity: {actor: 0, critic: 0, v: 0}", "sparsity.v: unknown key; the keys here are actor, critic"),
        ("sparsity: {actor: [0.8, 0.9], critic: 0.8}", f"sparsity.actor: {SHARE}a list"),
        # Criteria
        (
            "criterion: null",
            "missing: criterion; `rlottery arms` lists them, or give your own function as module:function",
        ),
        ("criterion: 5", 'criterion: must be text, not 5; put it in quotes: criterion: "5"'),
        ("criterion: [magnitude]", "criterion: must be text, not a list"),
        # Allocation
        ("allocation: erdos", f"allocation: {RULE}'erdos'"),
        ("allocation: []", f"allocation: {RULE}an empty list"),
        ("allocation: {rule: erk}", f"allocation: {RULE}{{rule: 'erk'}}"),
        ("allocation: {actor: [0.5]}", f"allocation: {RULE}{{actor: ...}}"),
        ("allocation: {actor: 0.5, critic: [0.5]}", "allocation.actor: must be a list, not 0.5"),
        ("allocation: {actor: [], critic: [0.5]}", "allocation.actor: must have at least one entry"),
        ("allocation: {actor: [0, 1, 0], critic: [0, 0, 0]}", f"allocation.actor.1: {SHARE}1"),
        (LAYERS, "the sparsity follows from the layers that allocation gives; leave one of the two out"),
        (
            f"sparsity: null, {LAYERS.replace('actor: [0.5, ', 'actor: [')}",
            "allocation.actor: must have 3 entries, one for each layer that network.actor makes, not 2",
        ),
        # Floor and structure
        *(
            (f"floor: {given}", f"floor: must be a whole number of at least 1, not {shown}")
            for given, shown in (("0", "0"), ("1.5", "1.5"), ("null", "empty (null)"))
        ),
        ("structure: unit", "structure: must be weights or units, not 'unit'; did you mean 'units'?"),
        ("structure: null", "structure: must be weights or units, not empty (null)"),
        ("structure: units, allocation: erk", "structure: units takes allocation: global or uniform"),
        (
            "structure: units, schedule: iterative",
            "whole units are pruned at once; leave out structure: units, or schedule: iterative",
        ),
        (
            "structure: units, criterion: synflow",
            "synflow scores and prunes weights in turn; leave out structure: units",
        ),
        # Data
        ("batches: 5", "magnitude reads no replay; leave out batches"),
        ("batch_size: 5, batches: 5", "magnitude reads no replay; leave out batch_size or batches"),
        ("criterion: synflow, batches: 5", "synflow reads no replay; leave out batches"),
        ("criterion: taylor, batches: 0", "batches: must be a whole number of at least 1, not 0"),
        ("criterion: taylor, batches: null", "batches: must be a whole number of at least 1, not empty (null)"),
        ("estimator: mean-abs", "magnitude reads no replay; leave out estimator"),
        ("criterion: fisher, estimator: mean-abs", "fisher has its own estimator; leave out estimator"),
        ("criterion: snip, estimator: abs-mean", "snip has its own estimator; leave out estimator"),
        ("criterion: taylor, estimator: abs", "estimator: must be mean-abs or abs-mean, not 'abs'"),
        # Schedules
        ("schedule: riggl", f"schedule: {SCHEDULES}'riggl'; did you mean 'rigl'?"),
        ("schedule: null", f"schedule: {SCHEDULES}empty (null)"),
        ("schedule: [rigl]", f"schedule: {SCHEDULES}a list"),
        ("schedule: {one-shot: {}}", f"schedule: {SCHEDULES}{{one-shot: ...}}; did you mean 'one-shot'?"),
        ("schedule: {set: {}, rigl: {}}", f"schedule: {SCHEDULES}{{set: ..., rigl: ...}}"),
        ("schedule: {iterative: 0.3}", "schedule.iterative: must be a mapping of keys, not 0.3"),
        ("schedule: {iterative: {drop: 0.3}}", "schedule.iterative.drop: unknown key; the keys here are rate"),
        *(
            (
                f"schedule: {{iterative: {{rate: {rate}}}}}",
                f"schedule.iterative.rate: must be a number above 0 and below 1, not {shown}",
            )
            for rate, shown in (("0", "0"), ("1", "1"), ("null", "empty (null)"))
        ),
        # Whether a round is a training of minutes or hours: nobody means that many.
        (
            "schedule: {iterative: {rate: 1e-12}}",
            "schedule.iterative.rate takes millions of rounds, more than 100; raise it",
        ),
        ("schedule: iterative, criterion: snip", f"{INITIAL}, but iterative pruning scores trained weights; {OTHER}"),
        (
            "schedule: iterative, sparsity: 0",
            "a sparsity of 0 prunes nothing, which makes no sense with schedule: iterative",
        ),
        (
            "schedule: rigl, sparsity: [0.9, 0], criterion: null",
            "a sparsity of 0 prunes nothing, which makes no sense with schedule: rigl",
        ),
        (
            "schedule: iterative, criterion: null",
            "missing: criterion; `rlottery arms` lists them, or give your own function as module:function",
        ),
        (
            f"schedule: iterative, sparsity: null, {LAYERS}",
            "iterative pruning needs one sparsity to reach; give sparsity, and allocation by a rule",
        ),
        (
            f"schedule: gradual, sparsity: null, {LAYERS}",
            "gradual pruning needs one sparsity to reach; give sparsity, and allocation by a rule",
        ),
        ("schedule: {gradual: {start: 0.8, end: 0.3}}", "schedule.gradual: start (0.8) must be below end (0.3)"),
        ("schedule: {gradual: {start: -1}}", f"schedule.gradual.start: {SHARE}-1"),
        (
            "schedule: {gradual: {interval: 0}}",
            "schedule.gradual.interval: must be a whole number of at least 1, not 0",
        ),
        (
            "schedule: {gradual: {start: 0.05, end: 0.1}}",
            "schedule.gradual.end: masks would change until step 120 (end x "
            "env_steps), but training begins after warmup_steps (200); raise end, or lower warmup_steps",
        ),
        (
            "schedule: gradual, criterion: taylor",
            "gradual pruning scores by the magnitude of the current weights; leave out criterion",
        ),
        (
            "schedule: gradual, rescale: true",
            "gradual pruning starts dense, so there is no scale to correct; leave out rescale",
        ),
        ("schedule: gradual, batches: 5", "gradual reads no replay; leave out batches"),
        ("schedule: rigl", "rigl drops by magnitude and grows by its own rule; leave out criterion"),
        (
            "schedule: rigl, criterion: null, rewind: {step: 400}",
            "rigl always trains from the initial weights; leave out rewind",
        ),
        (
            "schedule: set, criterion: null, rewind: none",
            "set always trains from the initial weights; leave out rewind",
        ),
        (
            "schedule: set, criterion: null, allocation: global",
            "set starts from a random mask, which has no scores to rank globally; use erk or uniform",
        ),
        (f"schedule: set, criterion: null, sparsity: null, {LAYERS}", "set takes allocation: erk or uniform"),
        ("schedule: rigl, criterion: null, estimator: abs-mean", "rigl reads no replay; leave out estimator"),
        (
            "schedule: {rigl: {drop: 1}}, criterion: null",
            "schedule.rigl.drop: must be a number above 0 and below 1, not 1",
        ),
        (
            "schedule: {rigl: {end: 0.1}}, criterion: null",
            "schedule.rigl.end: masks would change until step 120 (end x "
            "env_steps), but training begins after warmup_steps (200); raise end, or lower warmup_steps",
        ),
        (
            "schedule: {rigl: {interval: 901}}, criterion: null",
            "schedule.rigl.interval: masks would never change: no multiple of 901 is between warmup_steps (200) and "
            "step 900 (end x env_steps); lower it",
        ),
        (
            "criterion: grasp, structure: units",
            "grasp gives signed scores, which have no mean square; leave out structure: units",
        ),
        # Rewinding
        *(
            (f"rewind: {given}", f"rewind: {REWIND}{shown}")
            for given, shown in (
                ("null", "empty (null)"),
                ("400", "400"),
                ("{step: 0}", "{step: 0}"),
                ("{step: -1}", "{step: -1}"),
                ("{step: 30.5}", "{step: 30.5}"),
                ("{step: true}", "{step: true}"),
                ("{step: null}", "{step: empty (null)}"),
                ("{steps: 400}", "{steps: 400}"),
                ("first", "'first'"),
            )
        ),
        (
            "rewind: {step: 200}",
            "rewind.step: must be above warmup_steps (200), not 200: until then the weights are the initial ones",
        ),
        *(
            (
                f"rewind: {{step: {step}}}",
                "rewind.step: must leave the ticket at least 400 of env_steps (1200), for a "
                f"warm-up (200) and score_evaluations (1), one per 400 steps, not {step}",
            )
            for step in (801, 1200, 5000)
        ),
        ("criterion: snip, rewind: none", f"{INITIAL}; leave out rewind, or {OTHER}"),
        ("criterion: snip, rewind: {step: 400}", f"{INITIAL}; leave out rewind, or {OTHER}"),
        # Scale
        ("rescale: null", "rescale: must be true or false, not empty (null)"),
        ("rescale: 1", "rescale: must be true or false, not 1"),
        (
            "rescale: true, rewind: none",
            "rescale corrects the scale of initial weights; leave it out, or use rewind: initial",
        ),
        (
            "rescale: true, rewind: {step: 400}",
            "rescale corrects the scale of initial weights; leave it out, or use rewind: initial",
        ),
        # Idle weights
        ("reclaim: 1", "reclaim: must be true or false, not 1"),
        ("reclaim: true, structure: units", "pruning whole units leaves no weight idle; leave out reclaim"),
        ("reclaim: true, floor: 2", f"{MOVES} and keeps no floor above 1; leave out reclaim"),
        (
            "reclaim: true, sparsity: null, allocation: {actor: [0.5, 0.9, 0.5], critic: [0.5, 0.9, 0.5]}",
            f"{MOVES}, but allocation gives the sparsity of each; leave out reclaim",
        ),
        (
            "schedule: set, reclaim: true",
            "set changes its mask while the agent trains; leave out reclaim",
        ),
        # Other arms
        ("of: other", OF),
        ("of: 5", OF),
    ],
)
def test_fault_of_a_ticket(fault: Fault, key: str, message: str) -> None:
    given = dict.fromkeys(re.findall(r"(?:^|, )(\w+):", re.sub(r"[{\[].*?[}\]]+", "", key)))
    rest = [text for text in ("criterion: magnitude", "sparsity: 0.9") if text.partition(":")[0] not in given]
    key_to_blame = re.match(r"[a-z_.0-9]+: (must|unknown|missing; it|start|masks)", message)
    place = "arms.0." if key_to_blame else "arms.0: "
    assert fault(f"{{{', '.join([*rest, key])}}}") == f"2: {place}{message}"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (
            "schedule: {gradual: {interval: 50}}",
            "schedule.gradual.interval: must be a multiple of environments (4), not 50; the nearest are 48 and 52",
        ),
        (
            "schedule: {set: {interval: 3}}",
            "schedule.set.interval: must be a multiple of environments (4), not 3; the nearest is 4",
        ),
        (
            "criterion: magnitude, rewind: {step: 401}",
            "rewind.step: must be a multiple of environments (4), not 401; the nearest are 400 and 404",
        ),
    ],
)
def test_steps_at_which_all_environments_have_taken_theirs(fault: Fault, key: str, message: str) -> None:
    found = fault(f"{{sparsity: 0.9, {key}}}", overrides=("training.environments=4",))
    assert found == f"2: arms.0.{message}"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (
            "schedule: {rigl: {interval: 499}}",
            "schedule.rigl.interval: must be at least the steps between two updates, 500 with updates_per_step "
            "(0.002), not 499",
        ),
        (
            "schedule: {gradual: {start: 0.05, end: 0.5}}",
            "schedule.gradual.end: masks would change until step 600 (end x env_steps), but the first update is made "
            "after step 700; raise end, or lower warmup_steps",
        ),
        (
            "schedule: {rigl: {interval: 730, end: 0.6}}",
            "schedule.rigl.interval: masks would never change: no multiple of 730 is between step 700 and step 720 "
            "(end x env_steps); lower it",
        ),
        (
            "criterion: magnitude, rewind: {step: 699}",
            "rewind.step: must be at least 700 (the first update), not 699: until then the weights are the initial "
            "ones",
        ),
    ],
)
def test_masks_and_rewind_points_wait_for_the_first_update(fault: Fault, key: str, message: str) -> None:
    found = fault(f"{{sparsity: 0.9, {key}}}", overrides=("training.updates_per_step=0.002",))
    assert found == f"2: arms.0.{message}"


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        (
            "{control: randum, of: mag}",
            "arms.1.control: must be one of random, random-erk, shuffled, first-layer, "
            "inverted, permuted-weights, fresh-weights, small-dense, dense-again, not 'randum'; did you mean 'random'?",
        ),
        ("{control: null, of: mag}", f"arms.1: {OF}"),
        ("{control: random}", "arms.1: a control needs the arm that it is compared with: of: NAME (random)"),
        ("{control: random, of: mga}", "arms.1.of: there is no ticket 'mga'; this study's tickets are mag"),
        ("{control: random, of: MAG}", "arms.1.of: there is no ticket 'MAG'; this study's tickets are mag"),
        (
            "{name: r, control: random, of: r}",
            "arms.1.of: must name a ticket, but r is a control; this study's tickets are mag",
        ),
        (
            "{control: random, of: mag, sparsity: 0.9}",
            "arms.1: a control takes everything else from the arm it is `of`; leave out sparsity",
        ),
        (
            "{control: random, of: mag, rewind: none, criterion: taylor}",
            "arms.1: a control takes everything else from the arm it is `of`; leave out criterion or rewind",
        ),
        (
            "{control: random, of: mag, transfer: {seed: next}}",
            "arms.1: a control takes everything else from the arm it is `of`; leave out transfer",
        ),
        (
            "{control: dense-again, of: mag}",
            "arms.1: dense-again is the dense agent with other data; leave out of",
        ),
        (
            "{control: small-dense, of: mag, rescale: true}",
            "arms.1: small-dense has no mask, and takes everything from the arm it is `of`; leave out rescale",
        ),
        ("{transfer: next, of: mag}", "arms.1.transfer: must be a mapping of keys, not 'next'"),
        *(
            (f"{{transfer: {given}, of: mag}}", "arms.1.transfer: must name a task, seed: next, or a file")
            for given in ("{}", "{seed: null}", "{task: null, file: null}")
        ),
        ("{transfer: {seed: 1}, of: mag}", "arms.1.transfer.seed: must be next, not 1"),
        ("{transfer: {task: 5}, of: mag}", 'arms.1.transfer.task: must be text, not 5; put it in quotes: task: "5"'),
        (
            "{transfer: {task: Hopper-v5}, of: mag}",
            "arms.1.transfer.task: must be a task of this study (Pendulum-v1), not 'Hopper-v5'",
        ),
        (
            "{transfer: {task: Pendulum-v1}, of: mag}",
            "arms.1.transfer.task: the study's only task would get its own mask; add another task",
        ),
        ("{transfer: {seed: next}}", "arms.1: a transfer needs the arm whose mask it takes: of: NAME"),
        (
            "{transfer: {seed: next}, of: mag, criterion: taylor}",
            "arms.1: a transfer takes its mask as it is; leave out criterion",
        ),
        (
            "{transfer: {seed: next, file: x}, of: mag}",
            "arms.1.transfer: takes either a file, or a task and seed: next of this study",
        ),
        (
            "{transfer: {file: x}, of: mag}",
            "arms.1: a mask from a file belongs to no arm of this study; leave out `of`, or the file",
        ),
        ("{transfer: {file: 5}}", 'arms.1.transfer.file: must be text, not 5; put it in quotes: file: "5"'),
        ("{transfer: {file: ''}}", "arms.1.transfer.file: must be the path of a mask file, not ''"),
        ('{transfer: {file: "a\\0b"}}', "arms.1.transfer.file: must be the path of a mask file, not 'a\\x00b'"),
        (
            "{transfer: {file: ~nobody-here/x}}",
            "arms.1.transfer.file: names a home folder that doesn't exist: '~nobody-here/x'",
        ),
        *(
            (
                f"{{transfer: {{file: '{given}'}}}}",
                f"arms.1.transfer.file: may contain {{task}} and {{seed}}, and no other braces, not '{given}'",
            )
            for given in (
                "{sed}",
                "{",
                "}",
                "{}",
                "{0}",
                "{seed!r}",
                "{seed:9}",
                "{seed.real}",
                "{task:{seed}}",
                "{seed:99999999999}",
            )
        ),
    ],
)
def test_fault_beside_a_ticket(fault: Fault, arm: str, message: str) -> None:
    assert fault(MAG, arm) == f"3: {message}"


@pytest.mark.parametrize(
    ("of", "control", "message"),
    [
        (
            "criterion: magnitude, sparsity: 0.5, schedule: iterative",
            "control: inverted",
            "inverted needs the scores of a one-shot mask, and t has none",
        ),
        (
            "schedule: rigl, sparsity: 0.5",
            "control: inverted",
            "inverted needs the scores of a one-shot mask, and t has none",
        ),
        (
            "criterion: synflow, sparsity: 0.5",
            "control: inverted",
            "synflow scores and prunes in turn, so there is no single score to invert",
        ),
        *(
            (
                f"criterion: magnitude, sparsity: 0.5, rewind: {rewind}",
                f"control: {control}",
                f"{control} replaces the initial weights, and t doesn't start from them",
            )
            for control in ("fresh-weights", "permuted-weights")
            for rewind in ("none", "{step: 400}")
        ),
        *(
            (
                f"criterion: magnitude, sparsity: 0.5, rewind: {rewind}",
                f"{beside}, rescale: true",
                "rescale corrects the scale of initial weights, and t doesn't start from them; leave it out",
            )
            for beside in ("control: random", "transfer: {seed: next}")
            for rewind in ("none", "{step: 400}")
        ),
        *(
            (
                "criterion: magnitude, sparsity: 0.5, structure: units",
                f"control: {control}",
                f"{control} moves single weights, and t prunes whole units; use random",
            )
            for control in ("random-erk", "shuffled", "first-layer")
        ),
        *(
            (
                f"criterion: magnitude, {nothing}",
                f"control: {control}",
                f"t prunes nothing, so {control} would have the same mask",
            )
            for control in ("random", "random-erk", "shuffled", "first-layer", "inverted")
            for nothing in ("sparsity: 0", "allocation: {actor: [0, 0, 0], critic: [0, 0, 0]}")
        ),
        (
            "criterion: magnitude, allocation: {actor: [0.5, 0.5, 0], critic: [0.5, 0, 0]}",
            "control: first-layer",
            "t prunes nothing after the critic's first layer, so there is nothing to shuffle",
        ),
    ],
)
def test_controls_that_make_no_sense(fault: Fault, of: str, control: str, message: str) -> None:
    assert fault(f"{{name: t, {of}}}", f"{{{control}, of: t}}") == f"3: arms.1: {message}"


@pytest.mark.parametrize(
    ("ticket", "control", "message"),
    [
        ("", "inverted", "inverted needs the scores of a one-shot mask, and m has none"),
        ("structure: units", "shuffled", "shuffled moves single weights, and m prunes whole units; use random"),
        ("rewind: none", "fresh-weights", "fresh-weights replaces the initial weights, and m doesn't start from them"),
        (
            "rewind: none",
            "random, rescale: true",
            "rescale corrects the scale of initial weights, and m doesn't start from them; leave it out",
        ),
    ],
)
def test_controls_of_a_transfer_that_make_no_sense(fault: Fault, ticket: str, control: str, message: str) -> None:
    of = f"{{name: t, criterion: magnitude, sparsity: 0.5, {ticket}}}"
    transfer = "{name: m, transfer: {seed: next}, of: t}"
    assert fault(of, transfer, f"{{control: {control}, of: m}}") == f"4: arms.2: {message}"


def test_controls_stand_beside_tickets_alone(fault: Fault) -> None:
    control, transfer = "{name: r, control: random, of: mag}", "{transfer: {seed: next}, of: mag}"
    assert fault(MAG, control, "{control: random, of: r}") == (
        "4: arms.2.of: must name a ticket, but r is a control; this study's tickets are mag"
    )
    assert fault(MAG, transfer, "{transfer: {seed: next}, of: seed-next-of-mag}") == (
        "4: arms.2.of: must name a ticket, but seed-next-of-mag is a transfer; this study's tickets are mag"
    )
    assert fault(MAG, transfer, control, "{control: random, of: r}") == (
        "5: arms.3.of: must name a ticket, but r is a control; this study's tickets are mag, seed-next-of-mag"
    )
    assert fault("{name: d, control: dense-again}", "{control: random, of: d}") == (
        "3: arms.1.of: must name a ticket, but d is a control; this study has none"
    )


def test_rounds_are_no_arms_to_name(fault: Fault) -> None:
    imp = "{name: imp, criterion: magnitude, sparsity: 0.5, schedule: iterative}"
    assert fault(imp, "{control: random, of: imp.round-1}") == (
        "3: arms.1.of: there is no ticket 'imp.round-1'; this study's tickets are imp"
    )


TWICE = "this arm and arms.0 are both named {}; rename one of them"


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        (MAG, MAG, "mag"),
        (MAG, "{name: MAG, criterion: taylor, sparsity: 0.8}", "MAG"),
        ("{criterion: magnitude, sparsity: 0.8}", "{criterion: magnitude, sparsity: 0.8, floor: 3}", "magnitude-80"),
        (
            "{name: a, criterion: magnitude, sparsity: [0.8, 0.9]}",
            "{name: a-80, criterion: taylor, sparsity: 0.8}",
            "a-80",
        ),
        # `of: a` would be one or the other.
        ("{name: a, criterion: magnitude, sparsity: [0.8, 0.9]}", "{name: a, criterion: taylor, sparsity: 0.8}", "a"),
        ("{name: a, criterion: magnitude, sparsity: [0.8, 0.9]}", "{name: A, control: dense-again}", "A"),
        ("{name: mag, control: random, of: mag}", MAG, "mag"),
        ("{control: dense-again}", "{control: dense-again}", "dense-again"),
        ("{name: dense-again, criterion: magnitude, sparsity: 0.9}", "{control: dense-again}", "dense-again"),
    ],
)
def test_two_arms_of_one_name(fault: Fault, first: str, second: str, name: str) -> None:
    assert fault(first, second) == f"3: arms.1: {TWICE.format(name)}"


def test_a_sparsity_twice(fault: Fault) -> None:
    assert fault("{name: a, criterion: magnitude, sparsity: [0.8, {actor: 0.8, critic: 0.8}]}") == (
        "2: arms.0: two of its sparsities would both be named a-80; leave one of them out"
    )


def test_controls_of_a_list_and_of_one_of_it_need_names(fault: Fault) -> None:
    tickets = "{name: a, criterion: magnitude, sparsity: [0.8, 0.9]}"
    assert fault(tickets, "{control: random, of: a}", "{control: random, of: a-80}") == (
        "4: arms.2: this arm and arms.1 are both named random-of-a-80; rename one of them"
    )


def test_arms_and_pruning(fault: Fault) -> None:
    message = "pruning: arms and pruning exclude each other; leave one of the two out"
    assert fault(MAG, study=STUDY + "pruning: {sparsity: 0.5}") == f"8: {message}"
    override = "pruning.sparsity=0.5"
    assert fault(MAG, overrides=(override,)) == f"command line: {override}: {message}"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.warmup_steps=0", "but warmup_steps is 0; raise it"),
        (
            "training.replay_capacity=600",
            "but only the last 600 of 1200 transitions are kept; set replay_capacity: all",
        ),
    ],
)
def test_scores_of_the_warm_up_need_its_data(fault: Fault, override: str, message: str) -> None:
    said = fault("{criterion: snip, sparsity: 0.9}", overrides=(override,))
    assert said == f"2: arms.0.criterion: snip reads the data of the warm-up, {message}"


def test_the_next_seed_needs_two(fault: Fault) -> None:
    assert fault(MAG, "{transfer: {seed: next}, of: mag}", overrides=("seeds=[0]",)) == (
        "3: arms.1.transfer.seed: there is no next seed; give the study more than one"
    )


def test_a_task_with_steps_of_its_own_counts(fault: Fault) -> None:
    study = STUDY.replace("[Pendulum-v1]", "[Pendulum-v1, {id: b, training: {env_steps: 600}}]")
    said = fault("{criterion: magnitude, sparsity: 0.9, rewind: {step: 400}}", study=study)
    assert said == (
        "2: arms.0.rewind.step: must leave the ticket at least 400 of env_steps (600), for a warm-up (200) and "
        "score_evaluations (1), one per 400 steps, not 400"
    )


def test_the_last_step_that_leaves_room_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(STUDY + "arms: [{criterion: magnitude, sparsity: 0.9, rewind: {step: 8e2}}]")
    assert load_config(path).rewind_steps == (800,)


def test_too_many_rounds_are_refused_soon(fault: Fault) -> None:
    start = time.process_time()
    said = fault("{criterion: magnitude, sparsity: 0.99, schedule: {iterative: {rate: 0.00001}}}")
    assert said == f"2: arms.0: schedule.iterative.rate takes 460,515 rounds, more than {MAX_ROUNDS}; raise it"
    assert time.process_time() - start < 5


# Criteria of the user's own

MODULES = {
    "fine.py": "def score(weights): return abs(weights)\ndef other(weights, gradients): return weights\n"
    "def none(): ...\n"
    "constant = 3\n",
    "raises.py": "raise RuntimeError('two\\nlines and {braces}')\n",
    "leaves.py": "import sys\nsys.exit('bye')\n",
    "unparsed.py": "def score(:\n",
}


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        ("magnitud", "There is no criterion 'magnitud'. Did you mean 'magnitude'? Choose one of magnitude, taylor, "),
        ("''", "There is no criterion ''. Choose one of magnitude, "),
        ("nowhere:score", "There is no module 'nowhere' for the criterion 'nowhere:score'. "),
        ("fine:scor", "The criterion 'fine:scor' can't be used: 'scor' doesn't exist in 'fine'. Did you mean 'score'?"),
        (
            "fine:constant",
            "The criterion 'fine:constant' can't be used: 'constant' is int, not a function, in 'fine'.",
        ),
        ("fine:other", "The criterion 'fine:other' asks for 'gradients', which is not a known statistic. "),
        ("fine:none", "The criterion 'fine:none' has no parameters, but their names say what it reads. "),
        ("fine.py:score", "The criterion 'fine.py:score' names a file. Give the import path of its module: fine:score"),
        (
            "./fine.py:score",
            "The criterion './fine.py:score' names a file. Give the import path of its module: fine:score",
        ),
        (
            "raises:score",
            "The module 'raises' of the criterion 'raises:score' can't be imported: RuntimeError: two lines "
            'and {braces}. Fix it until this works: python -c "import raises"',
        ),
        (
            "leaves:score",
            "The module 'leaves' of the criterion 'leaves:score' can't be imported: it tried to end the process with "
            "sys.exit('bye') in ",
        ),
        ("unparsed:score", "The module 'unparsed' of the criterion 'unparsed:score' can't be imported: SyntaxError: "),
        *(
            (path, f"must be a criterion's name, or an import path such as my_module:my_score, not '{path}'")
            for path in (":", ":score", "fine:", ".:score", ".fine:score", "fi ne:score", "fine:score:x", "fine:1")
        ),
    ],
)
def test_criteria_that_are_none(
    fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, criterion: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name.removesuffix(".py"), raising=False)
        (tmp_path / name).write_text(MODULES[name])
    quoted = criterion if criterion == "''" else f"'{criterion}'"
    said = fault(f"{{criterion: {quoted}, sparsity: 0.9}}")
    assert said.startswith(f"2: arms.0.criterion: {message}")


# What is spread


def test_a_list_of_sparsities_is_an_arm_each() -> None:
    arms = spread([recipe(name="m", criterion="magnitude", sparsity=[0.9, {"actor": 0.9, "critic": 0.5}])])
    assert [arm.name for arm in arms] == ["m-90", "m-a90-c50"]
    assert [arm.only_sparsity for arm in arms] == [
        recipe(criterion="magnitude", sparsity=s).only_sparsity for s in (0.9, {"actor": 0.9, "critic": 0.5})
    ]


def test_a_list_of_one_is_one() -> None:
    assert names({"name": "m", "criterion": "magnitude", "sparsity": [0.9]}) == ["m"]


def test_a_control_of_a_list_is_one_of_each() -> None:
    ticket = {"name": "m", "criterion": "magnitude", "sparsity": [0.8, 0.9]}
    arms = [ticket, {"name": "r", "control": "random", "of": "m"}, {"control": "shuffled", "of": "m"}]
    assert names(*arms) == ["m-80", "m-90", "r-80", "r-90", "shuffled-of-m-80", "shuffled-of-m-90"]
    spreads = spread([parse_recipe(arm) for arm in arms])
    assert [getattr(arm, "of", None) for arm in spreads] == [None, None, "m-80", "m-90", "m-80", "m-90"]


def test_a_control_of_a_transfer_of_a_list_is_one_of_each() -> None:
    ticket = {"name": "m", "criterion": "magnitude", "sparsity": [0.8, 0.9]}
    moved = {"name": "t", "transfer": {"seed": "next"}, "of": "m"}
    control = {"name": "r", "control": "random", "of": "t"}
    assert names(control, moved, ticket) == ["r-80", "r-90", "t-80", "t-90", "m-80", "m-90"]
    assert names({**control, "of": "t-90"}, moved, ticket)[0] == "r"
    unnamed = [{"transfer": {"seed": "next"}, "of": "m-80"}, {"control": "fresh-weights", "of": "seed-next-of-m-80"}]
    assert names(ticket, *unnamed)[2:] == ["seed-next-of-m-80", "fresh-weights-of-seed-next-of-m-80"]
    file = {"name": "f", "transfer": {"file": "f.npz"}}
    assert names(file, {"control": "random", "of": "f"}) == ["f", "random-of-f"]


def test_a_control_may_stand_before_its_ticket_and_name_one_of_a_list() -> None:
    control = {"name": "r", "control": "random", "of": "m-90"}
    assert names(control, {"name": "m", "criterion": "magnitude", "sparsity": [0.8, 0.9]}) == ["r", "m-80", "m-90"]


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ({"criterion": "magnitude", "sparsity": 0.9}, "magnitude-90"),
        ({"criterion": "magnitude", "sparsity": -0.0}, "magnitude-0"),
        (
            {"criterion": "taylor", "sparsity": {"actor": 0.95, "critic": 0.9}, "allocation": "erk"},
            "taylor-a95-c90-erk",
        ),
        ({"criterion": "magnitude", "sparsity": 0.875, "allocation": "global"}, "magnitude-87.5"),
        ({"criterion": "wanda", "sparsity": 0.29, "structure": "units"}, "wanda-29-units"),
        ({"criterion": "taylor", "sparsity": 0.9, "estimator": "abs-mean", "batches": 5}, "taylor-90-abs-mean-5x256"),
        ({"criterion": "magnitude", "sparsity": 0.9, "rewind": {"step": 400}}, "magnitude-90-from-step-400"),
        ({"criterion": "magnitude", "sparsity": 0.9, "rewind": "none"}, "magnitude-90-fine-tuned"),
        ({"criterion": "snip", "sparsity": 0.9, "rescale": True}, "snip-90-rescaled"),
        ({"criterion": "magnitude", "sparsity": 0.9, "schedule": "iterative"}, "iterative-magnitude-90"),
        ({"schedule": "gradual", "sparsity": 0.9}, "gradual-magnitude-90"),
        ({"criterion": "taylor", "sparsity": 0.98, "reclaim": True}, "taylor-98-reclaimed"),
        ({"schedule": {"rigl": {"drop": 0.5}}, "sparsity": 0.9, "allocation": "uniform"}, "rigl-90-uniform"),
        ({"criterion": "magnitude", "allocation": {"actor": [0.5, 0], "critic": [0, 0.5]}}, "magnitude-given"),
        ({"control": "dense-again"}, "dense-again"),
        ({"transfer": {"file": "masks/{task}_{seed}.pkl"}}, "file-masks-task-_-seed-pkl"),
    ],
)
def test_names_that_are_made(keys: dict[str, Any], name: str) -> None:
    # They are folders' names: a change would leave finished runs behind.
    assert names(keys) == [name]


def test_null_is_as_left_out() -> None:
    null = dict.fromkeys(("name", "allocation", "estimator", "control", "of", "transfer"))
    assert names({"criterion": "magnitude", "sparsity": 0.9, **null}) == ["magnitude-90"]


SHARES = st.sampled_from([0.1, 0.29, 0.5, 0.875, 0.9, 0.95, 1 / 3, 0.999])
SPARSITY = st.one_of(SHARES, st.fixed_dictionaries({"actor": SHARES, "critic": SHARES}))
LISTS = st.one_of(SPARSITY, st.lists(SPARSITY, min_size=1, max_size=3))
NAMES = st.sampled_from(["a", "b", "B", "a-90", "a.1", "_x", "x" * 64])
REWINDS = st.sampled_from(["initial", "none", {"step": 400}])
DYNAMIC = ["gradual", "set", "rigl", {"gradual": {"start": 0.5}}, {"set": {"interval": 7}}, {"rigl": {"drop": 0.5}}]


def keys(needed: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(needed, optional={"name": NAMES, **optional})


RULES = st.sampled_from(["global", "uniform", "erk"])
TICKETS = st.one_of(
    keys({"criterion": st.just("magnitude"), "sparsity": LISTS}, {"allocation": RULES, "floor": st.integers(1, 9)}),
    keys({"criterion": st.sampled_from(["magnitude", "random", "fisher"]), "sparsity": LISTS}, {"rewind": REWINDS}),
    keys(
        {"criterion": st.sampled_from(["taylor", "gradient"]), "sparsity": LISTS},
        {
            "estimator": st.sampled_from(["mean-abs", "abs-mean"]),
            "batches": st.integers(1, 9),
            "batch_size": st.just(256),
        },
    ),
    keys({"criterion": st.sampled_from(["snip", "grasp", "synflow"]), "sparsity": LISTS}, {"rescale": st.booleans()}),
    keys({"criterion": st.just("wanda"), "sparsity": LISTS, "structure": st.just("units")}, {}),
    keys(
        {
            "criterion": st.just("magnitude"),
            "allocation": st.fixed_dictionaries(dict.fromkeys(("actor", "critic"), st.just([0.5, 0.9, 0]))),
        },
        {},
    ),
    keys(
        {
            "criterion": st.just("taylor"),
            "schedule": st.sampled_from(["iterative", {"iterative": {"rate": 0.33}}]),
            "sparsity": LISTS,
        },
        {"rewind": REWINDS},
    ),
    keys({"schedule": st.sampled_from(DYNAMIC), "sparsity": LISTS}, {}),
    keys({"control": st.just("dense-again")}, {}),
)
BESIDE = st.one_of(
    keys({"control": st.sampled_from(["random", "small-dense"]), "of": NAMES}, {}),
    keys({"control": st.just("random"), "of": NAMES, "rescale": st.booleans()}, {}),
    keys({"transfer": st.just({"seed": "next"}), "of": NAMES}, {}),
)


@settings(max_examples=300)
@given(listed=st.lists(st.one_of(TICKETS, BESIDE), min_size=1, max_size=6))
def test_arms_have_names_of_their_own_that_fit_files(listed: list[dict[str, Any]]) -> None:
    given = [parse_recipe(each) for each in listed]
    try:
        arms = spread(given)
    except RecipeError as error:
        assert 0 <= error.place[0] < len(listed)  # type: ignore[operator]
        return
    made = [arm.name or "" for arm in arms]
    assert len({name.casefold() for name in made}) == len(made)
    assert spread(given) == arms
    for arm in arms:
        assert re.fullmatch(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(?<!\.)", arm.name or "")
        assert ".round-" not in (arm.name or "")
        assert len(getattr(arm, "sparsity", None) or [0]) == 1
        assert getattr(arm, "of", None) in (None, *made)
    # What is spread is a list of recipes like any other, and stays as it is.
    assert spread(arms) == arms


@settings(max_examples=300)
@given(listed=st.lists(st.one_of(TICKETS, BESIDE), min_size=1, max_size=6))
def test_a_config_in_plain_types_is_the_same_config(listed: list[dict[str, Any]]) -> None:
    study = {
        "tasks": ["a"],
        "seeds": [0, 1],
        "training": {"env_steps": 1200, "warmup_steps": 200},
        "evaluation": {"interval": 400, "score_evaluations": 1},
        "arms": listed,
    }
    try:
        config = Config.model_validate(study)
    except ValidationError:
        return
    again = Config.model_validate(config_to_dict(config))
    assert again == config
    assert config_to_dict(again) == config_to_dict(config)
    assert again.recipes == config.recipes
    assert [arm.model_fields_set for arm in again.arms] == [arm.model_fields_set for arm in config.arms]


def test_percent() -> None:
    def shown(sparsity: object) -> str:
        return percent(recipe(criterion="magnitude", sparsity=sparsity).only_sparsity)

    assert [shown(s) for s in (0.9, 0.29, 0.875, 0, 0.9999)] == ["90", "29", "87.5", "0", "99.99"]
    assert shown({"actor": 0.95, "critic": 0.9}) == "a95-c90"
    assert percent(None) == ""
