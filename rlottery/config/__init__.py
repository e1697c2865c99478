"""The settings of a study: what a config file may contain, checked key by key."""

from rlottery.config.built_in import check_method
from rlottery.config.contrasts import Contrast, RegisteredContrast
from rlottery.config.groups import ALGORITHMS, DEFAULT_ALGORITHM, GROUPS, ON_POLICY, AlgorithmName
from rlottery.config.loading import default_config_text, import_criteria, load_config, load_tracking, own_criteria
from rlottery.config.models import Config, config_to_dict, recorded_settings, with_trackers
from rlottery.config.sections import (
    Deviation,
    DQNSettings,
    EvaluationSettings,
    Hyperparameters,
    NetworkSettings,
    PPOSettings,
    Pruning,
    SACSettings,
    Task,
    TD3Settings,
    Verdict,
)
from rlottery.config.task_ids import file_name
from rlottery.config.tracking import TRACKERS, TrackerName, TrackerSettings, Tracking
from rlottery.config.training import LEFT_OUT, Training

__all__ = [
    "ALGORITHMS",
    "DEFAULT_ALGORITHM",
    "GROUPS",
    "LEFT_OUT",
    "ON_POLICY",
    "TRACKERS",
    "AlgorithmName",
    "Config",
    "Contrast",
    "DQNSettings",
    "Deviation",
    "EvaluationSettings",
    "Hyperparameters",
    "NetworkSettings",
    "PPOSettings",
    "Pruning",
    "RegisteredContrast",
    "SACSettings",
    "TD3Settings",
    "Task",
    "TrackerName",
    "TrackerSettings",
    "Tracking",
    "Training",
    "Verdict",
    "check_method",
    "config_to_dict",
    "default_config_text",
    "file_name",
    "import_criteria",
    "load_config",
    "load_tracking",
    "own_criteria",
    "recorded_settings",
    "with_trackers",
]
