from pathlib import Path

import pytest

from rlottery.config.cluster_profile import ClusterProfile, default_profile_text, load_profile
from rlottery.errors import ConfigError


def write(folder: Path, text: str) -> Path:
    path = folder / "cluster.yaml"
    path.write_text(text)
    return path


def test_the_profile_that_init_writes_has_every_key_and_its_default(tmp_path: Path) -> None:
    text = default_profile_text()
    profile = load_profile(write(tmp_path, text))
    assert profile == ClusterProfile.model_validate({"time": "12:00:00"})
    assert all(f"\n{key}:" in text or f"\n# {key}:" in text for key in ClusterProfile.model_fields)


@pytest.mark.parametrize(("written", "minutes"), [("12:00:00", 720), ("1-12:30:00", 2190), ("00:10", 10)])
def test_times_are_written_as_for_slurm(tmp_path: Path, written: str, minutes: int) -> None:
    assert load_profile(write(tmp_path, f'time: "{written}"')).time == minutes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("time: '1:00:00'\npartitoin: cpu", ":2: partitoin: unknown key; did you mean 'partition'?"),
        ("partition: cpu", ": time: missing; it has no default"),
        (
            "time: 90",
            ':1: time: must be a time such as "12:00:00" or "1-12:00:00" (days-hours:minutes:seconds), not 90',
        ),
        ("time: '00:02:00'", ":1: time: must be at least 4 minutes, not '00:02:00': a run has to start"),
        ("time: '1:00:00'\nmemory: 4", ":2: memory: must be an amount such as 800M or 4G, not 4"),
        ("time: '1:00:00'\nenvironment: {a-b: 1}", ":2: environment: 'a-b' can't be the name of an environment"),
        ("time: '1:00:00'\nwhole_nodes: true", "whole_nodes: true needs `cores`, the number of cores of a node"),
        ("time: '1:00:00'\nqos: --hold", ":2: qos: must be a line of text, not '--hold'"),
    ],
)
def test_a_fault_is_told_with_its_line_and_key(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_profile(write(tmp_path, text))
    assert said in str(error.value) and str(error.value).startswith(str(tmp_path / "cluster.yaml"))


def test_a_missing_profile_names_the_command_that_writes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="rlottery init --cluster slurm"):
        load_profile(tmp_path / "cluster.yaml")
