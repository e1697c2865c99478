"""The settings of a study: what a config file may say, checked key by key."""

from rlottery.config.models import (
    Config,
    EvaluationSettings,
    NetworkSettings,
    Pruning,
    SACSettings,
    Task,
    Training,
    Verdict,
    config_to_dict,
    default_config_text,
    file_name,
    load_config,
)

__all__ = [
    "Config",
    "EvaluationSettings",
    "NetworkSettings",
    "Pruning",
    "SACSettings",
    "Task",
    "Training",
    "Verdict",
    "config_to_dict",
    "default_config_text",
    "file_name",
    "load_config",
]
