"""The settings of a study: what a config file may say, checked key by key."""

from rlottery.config.models import (
    SAC,
    Config,
    Evaluation,
    Network,
    Pruning,
    Task,
    Training,
    Verdict,
    config_to_dict,
    default_config_text,
    file_name,
    load_config,
)

__all__ = [
    "SAC",
    "Config",
    "Evaluation",
    "Network",
    "Pruning",
    "Task",
    "Training",
    "Verdict",
    "config_to_dict",
    "default_config_text",
    "file_name",
    "load_config",
]
