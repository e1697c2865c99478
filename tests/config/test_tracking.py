"""The trackers of a config: how they are chosen, what is refused, and that nothing depends on them."""

import json
from collections.abc import Callable

import pytest

from rlottery.config import Config, config_to_dict, load_tracking, recorded_settings, with_trackers
from rlottery.config.tracking import MlflowSettings, Tracking, WandbSettings
from rlottery.errors import ConfigError
from rlottery.study.planning.fingerprints import dense_fingerprint
from tests.config.conftest import Faults

MINIMAL = "tasks: [a]\nseeds: [0]\n"


@pytest.mark.parametrize(
    "text",
    ["tracking: wandb", "tracking: [wandb]", "tracking: {wandb: }", "tracking: {wandb: {}}", "tracking:\n  wandb:\n"],
)
def test_a_name_is_enough(load: Callable[..., Config], text: str) -> None:
    assert load(MINIMAL + text).tracking.chosen == {"wandb": WandbSettings()}


def test_overrides_and_names_of_the_command_line(load: Callable[..., Config]) -> None:
    config = load(MINIMAL + "tracking: {wandb: {project: p}}", "tracking.mlflow.experiment=e")
    both = {"wandb": WandbSettings(project="p"), "mlflow": MlflowSettings(experiment="e")}
    assert config.tracking.chosen == both
    assert with_trackers(config, ["wandb", "mlflow"]).tracking.chosen == both
    assert set(with_trackers(config, ["trackio"]).tracking.chosen) == {"wandb", "mlflow", "trackio"}
    assert load(MINIMAL + "tracking: wandb", "tracking=").tracking.chosen == {}
    assert load_tracking(["tracking.wandb.project=q"]).chosen == {"wandb": WandbSettings(project="q")}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "tracking=[wandbb]",
            "must be wandb, trackio or mlflow, or a list of these, not 'wandbb'; did you mean 'wandb'?",
        ),
        ("tracking=3", "must be a mapping of keys, not 3"),
        ("tracking.wandb.mode=air", "must be online or offline, not 'air'"),
        ("tracking.wandb.projekt=x", "unknown key; did you mean 'project'?"),
        ("tracking.wandb.project=''", "must be 1 to 200 printable characters, not ''"),
        ("tracking.mlflow.uri=http://me:secret@host", "has a password in it, and configs are shared"),
        ("tracking.mlflow.uri=https://token@host", "has a password in it, and configs are shared"),
    ],
)
def test_what_is_refused(faults: Faults, override: str, message: str) -> None:
    (line,) = faults(MINIMAL, override)
    assert message in line


def test_unknown_names(load: Callable[..., Config]) -> None:
    with pytest.raises(ConfigError, match=r"There is no tracker 'mlflo'; did you mean 'mlflow'\?"):
        with_trackers(load(MINIMAL), ["mlflo"])
    with pytest.raises(ConfigError, match="unknown key"):
        load_tracking(["seeds=[1]"])


def test_nothing_depends_on_it(load: Callable[..., Config]) -> None:
    plain, tracked = load(MINIMAL), load(MINIMAL + "tracking: {wandb: {project: p, tags: [a]}}")
    assert dense_fingerprint(plain, plain.tasks[0], 0) == dense_fingerprint(tracked, tracked.tasks[0], 0)
    assert recorded_settings(plain) == recorded_settings(tracked) == config_to_dict(plain)
    assert Config.model_validate(json.loads(json.dumps(config_to_dict(tracked)))) == tracked
    assert tracked.tracking == Tracking.model_validate({"wandb": {"project": "p", "tags": ["a"]}})
