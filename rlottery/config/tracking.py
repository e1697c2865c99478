"""Where the metrics of runs are sent in addition to their files. No result depends on it."""

from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_serializer, model_validator

from rlottery.config.fields import Section, Text, listed, one_of
from rlottery.config.numbers import fault
from rlottery.config.yaml_lines import show
from rlottery.errors import or_closest

TrackerName = Literal["wandb", "trackio", "mlflow"]
TRACKERS: tuple[TrackerName, ...] = get_args(TrackerName)
"""The trackers. Each has a section of its name below `tracking`."""
MOST_LETTERS = 200


def _name(text: str) -> str:
    if not 0 < len(text) <= MOST_LETTERS or not text.isprintable():
        raise fault(f"must be 1 to {MOST_LETTERS} printable characters, not {show(text)}", wants="text")
    return text


def _without_password(uri: str) -> str:
    try:
        parts = urlsplit(uri)
    except ValueError:
        raise fault(f"must be an address, not {show(uri)}") from None
    is_token = parts.scheme.startswith("http") and parts.username is not None
    if parts.password is not None or is_token or "token=" in uri:
        raise fault("has a password in it, and configs are shared; set MLFLOW_TRACKING_USERNAME and _PASSWORD instead")
    return uri


_Name = Annotated[Text, AfterValidator(_name)]
_Address = Annotated[_Name, AfterValidator(_without_password)]


class WandbSettings(Section):
    """Weights & Biases. What is left out is as its variables (WANDB_PROJECT, ...) and `wandb login` say."""

    project: _Name | None = Field(default=None, description="default: WANDB_PROJECT, else the study's name")
    entity: _Name | None = Field(default=None, description="the team or user; default: your own")
    mode: Annotated[Literal["online", "offline"], one_of(("online", "offline"))] | None = Field(
        default=None, description="offline keeps everything in DATA/tracking for `wandb sync`; default: WANDB_MODE"
    )
    tags: Annotated[tuple[_Name, ...], Field(max_length=20)] = Field(default=(), description="tags of all runs")


class TrackioSettings(Section):
    """Trackio. What is left out is as its variables (TRACKIO_DIR, TRACKIO_SPACE_ID, ...) say."""

    project: _Name | None = Field(default=None, description="default: the study's name")
    space: _Name | None = Field(default=None, description="a Space of the Hub, USER/NAME; default: this machine")


class MlflowSettings(Section):
    """MLflow. What is left out is as its variables (MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME, ...) say."""

    uri: _Address | None = Field(
        default=None, description="of a server (http://HOST:PORT) or a file (sqlite:///mlflow.db)"
    )
    experiment: _Name | None = Field(default=None, description="default: MLFLOW_EXPERIMENT_NAME, else the study's name")


TrackerSettings = WandbSettings | TrackioSettings | MlflowSettings


class Tracking(Section):
    """The trackers that metrics are sent to. A list of names, or one name, means them with their defaults."""

    wandb: WandbSettings | None = Field(default=None, description="Weights & Biases; the extra `wandb`")
    trackio: TrackioSettings | None = Field(default=None, description="Trackio; the extra `trackio`")
    mlflow: MlflowSettings | None = Field(default=None, description="MLflow; the extra `mlflow`")

    @model_validator(mode="before")
    @classmethod
    def _names_alone(cls, value: object) -> object:
        if value is None:
            return {}
        if isinstance(value, str):
            value = [value]
        if isinstance(value, list | tuple):
            return {check_tracker(name): {} for name in value}
        if isinstance(value, dict):  # `wandb:` with nothing below it
            return {name: {} if section is None and name in TRACKERS else section for name, section in value.items()}
        return value

    @model_serializer
    def _what_is_chosen(self) -> dict[str, Any]:
        return {name: settings.model_dump(mode="json") for name, settings in self.chosen.items()}

    @property
    def chosen(self) -> dict[TrackerName, TrackerSettings]:
        """The settings of each tracker that is used, by its name."""
        found: dict[TrackerName, TrackerSettings | None] = {
            "wandb": self.wandb,
            "trackio": self.trackio,
            "mlflow": self.mlflow,
        }
        return {name: settings for name, settings in found.items() if settings is not None}


def check_tracker(name: object) -> str:
    """`name`, if it is a tracker's. Raises a fault that pydantic reports if not."""
    if name in TRACKERS:
        return str(name)
    raise fault(f"must be {listed(TRACKERS)}, or a list of these, not {show(name)}{or_closest(name, TRACKERS)}")
