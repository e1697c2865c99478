import pytest

from rlottery.study.versions import versions, xla_flags


def test_what_results_depend_on_is_there() -> None:
    found = versions()
    assert {
        "jax",
        "jaxlib",
        "numpy",
        "rlottery",
        "python",
        "machine",
        "commit",
        "processor",
        "kernels",
        "xla_flags",
    } <= found.keys()
    assert all(isinstance(value, str) for value in found.values())


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("--xla_cpu_multi_thread_eigen=false", "--xla_cpu_multi_thread_eigen=false"),
        ("--xla_a=1 --xla_dump_to=/home/me/secret --xla_b", "--xla_a=1 --xla_b"),
        ("TOKEN=abc --token=abc --xla_key=$SECRET", ""),
    ],
)
def test_nothing_but_plain_flags_is_told(text: str, kept: str) -> None:
    assert xla_flags(text) == kept


def test_no_other_variable_of_the_environment_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "hunter2-hunter2")
    assert "hunter2" not in str(versions())
