"""Pushing and pulling through huggingface_hub, with a stand-in for the Hub."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import rlottery
from rlottery.report.folders import film_files
from rlottery.storage.paths import Store
from tests.command import call, refusal
from tests.hub.server import TOKEN, Hub
from tests.study.execution.in_process import run_in_this_process
from tests.study.studies import TINY, contents

hub_library = pytest.importorskip("huggingface_hub", reason="needs huggingface_hub: uv sync")
# huggingface_hub itself uploads in a way that its HTTP library will give up.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")
RUN = Path("data/runs/Pendulum-v1/seed_0/magnitude-80")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "config.yaml").write_text(TINY + "tracking: {wandb: {project: private-project}}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rlottery.study.reporting.films_of", lambda *_, **__: ({}, ()))
        run_in_this_process(folder, "tracking=")
    name = f"film_Pendulum-v1_seed_0_magnitude-80_{'0' * 12}-{'1' * 12}.mp4"
    film_files(Store(folder / "data").report).update({name: b"a film"})
    (folder / "data" / "report" / "notes.txt").write_text("of the user")
    return folder


@pytest.fixture
def hub(trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """The stand-in, with the user logged in, and a working directory with the study."""
    server = Hub()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.address)
    template = f"{server.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.chdir(tmp_path)
    Path("data").symlink_to(trained / "data")
    yield server
    server.close()


def card_of(text: str) -> tuple[dict[str, Any], str]:
    _, head, body = text.split("---\n", 2)
    return yaml.safe_load(head), body


def test_a_dry_push_sends_nothing_and_needs_no_login(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    before = contents(Path("data"))
    for _ in range(2):
        code, output, _ = call("push", RUN, "--repo", "me/ticket")
        assert code == 0 and "Nothing was sent." in output and "--yes" in output
    assert hub.requests == [] and contents(Path("data")) == before
    names = {line.split()[1] for line in output.splitlines() if re.match(r" *[\d,]+  \S+$", line)}
    place = "runs/Pendulum-v1/seed_0/magnitude-80"
    assert names == {
        *("README.md", "SHA256SUMS", "config.yaml", "film.mp4", "policy.npz", "policy.safetensors"),
        *(f"{place}/{name}" for name in ("agent.safetensors", "manifest.json", "mask.pkl", "metrics.jsonl")),
    }
    metadata, body = card_of(Path("ticket-model-card.md").read_text())
    assert (metadata["license"], metadata["library_name"]) == ("unknown", "rlottery")
    assert {"Pendulum-v1", "SAC", "pruning"} <= set(metadata["tags"])
    for words in (
        '<video src="film.mp4"',
        "# Pendulum-v1: SAC, sparse agent magnitude-80, seed 0",
        "| Sparsity | actor 80.06 %, critic 80.06 % |",
        "## Verdict of the study",
        "90 % intervals from two one-sided tests",
        "has not chosen a license",
        "rlottery pull me/ticket --to ticket",
        "policy = rlottery.load_agent('ticket/runs/Pendulum-v1/seed_0/magnitude-80')",
        hashlib.sha256((RUN / "agent.safetensors").read_bytes()).hexdigest(),
    ):
        assert words in body.replace("\\", ""), words
    score = metadata["model-index"][0]["results"][0]["metrics"][0]
    returns = rlottery.load_study("data").runs.query("arm == 'magnitude-80'")["score"].item()
    assert score["value"] == pytest.approx(returns) and score["name"] == "Return, the last evaluation"


def test_a_run_comes_back_as_it_was(hub: Hub) -> None:
    code, output, error = call("push", RUN, "--repo", "ticket", "--yes", "--license", "mit")
    assert code == 0, error
    revision = hub.repositories["me/ticket"].newest
    assert hub.repositories["me/ticket"].private and f"revision {revision}" in output
    assert hub.tokens == {f"Bearer {TOKEN}", None} and TOKEN not in output + error  # None: the uploads to Git LFS
    assert not any(TOKEN.encode() in data for data in hub.repositories["me/ticket"].commits[revision].values())
    metadata, body = card_of(hub.repositories["me/ticket"].commits[revision]["README.md"].decode())
    assert metadata["license"] == "mit" and "`mit`" in body

    hub.commit("me/ticket", {"README.md": b"edited", "notes.txt": b"of the user's"})
    code, output, error = call("pull", "me/ticket")
    assert code == 0 and "checksums" in output, error
    found = contents(Path("ticket"))
    assert Path("ticket/README.md").read_text() == "edited" and not Path("ticket/notes.txt").exists()
    assert not [path for path in found if ".cache" in str(path)]
    assert sorted(Path().glob(".ticket*")) == []
    pulled, file, own = (
        rlottery.load_agent(path) for path in (Path("ticket") / RUN.relative_to("data"), "ticket/policy.npz", RUN)
    )
    observations = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    assert np.array_equal(pulled(observations), own(observations))
    np.testing.assert_allclose(file(observations), own(observations), rtol=1e-5, atol=1e-5)

    code, output, _ = call("pull", "me/ticket", "--to", "deep/pinned", "--revision", revision)
    assert code == 0 and revision in output and "edited" not in Path("deep/pinned/README.md").read_text()


def test_a_study_comes_back_as_a_data_folder_without_what_is_private(hub: Hub) -> None:
    code, _, error = call("push", "data", "--repo", "me/study", "--yes", "--public")
    assert code == 0, error
    files = hub.repositories["me/study"].commits[hub.repositories["me/study"].newest]
    assert not hub.repositories["me/study"].private and not any("replay" in name or "notes" in name for name in files)
    record = json.loads(files["study.json"])
    assert record["commands"] == [] and not {"module_folders", "own_code"} & record.keys()
    here = str(Path("data").resolve().parent)
    assert [name for name, data in files.items() if here.encode() in data or b"private-project" in data] == []
    assert call("pull", "me/study", "--to", "copy")[0] == 0
    own, copy = rlottery.load_study("data").runs, rlottery.load_study("copy").runs
    assert own["score"].tolist() == copy["score"].tolist() and own["untrained"].tolist() == copy["untrained"].tolist()
    assert "# tiny: a study of lottery tickets" in files["README.md"].decode()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"policy.npz": b"changed"}, "policy.npz of me/ticket isn't the file that was pushed: its checksum differs"),
        ({"policy.npz": None}, "lacks policy.npz, which its SHA256SUMS lists"),
        ({"SHA256SUMS": None}, "has no SHA256SUMS, so it wasn't made by `rlottery push`"),
        ({"SHA256SUMS": b"0" * 64 + b"  ../../evil\n"}, "is not as `rlottery push` writes it"),
        ({"SHA256SUMS": b"0" * 64 + b"  /etc/evil\n"}, "is not as `rlottery push` writes it"),
        ({"SHA256SUMS": b"0" * 64 + b"  .cache/evil\n"}, "is not as `rlottery push` writes it"),
        ({"SHA256SUMS": b"\xff\xfe"}, "is not as `rlottery push` writes it"),
    ],
)
def test_what_is_not_as_it_was_pushed_is_refused(hub: Hub, change: dict[str, bytes | None], words: str) -> None:
    assert call("push", RUN, "--repo", "me/ticket", "--yes")[0] == 0
    hub.commit("me/ticket", change)
    assert words in refusal("pull", "me/ticket")


def test_bad_names_and_existing_folders(hub: Hub) -> None:
    Path("ticket").mkdir()
    assert "ticket already exists and was not changed" in refusal("pull", "me/ticket")
    for name in ("a/b/c", "../x", "a b", "-x", "a--b", "x" * 200, "a/"):
        assert "can't be a repository" in refusal("pull", f"./{name}" if name == "-x" else name)
        assert "can't be a repository" in refusal("push", RUN, "--repo", name)
    assert "can't be a revision" in refusal("pull", "me/other", "--revision", "../x")
    assert "--license gpl: unknown" in refusal("push", RUN, "--repo", "x", "--license", "gpl")
    assert "There is no folder nowhere" in refusal("push", "nowhere", "--repo", "x")
    Path("x-model-card.md").write_text("mine")
    assert "is no model card of rlottery's" in refusal("push", RUN, "--repo", "x")
    Path("y-model-card.md").mkdir()
    assert "is no model card of rlottery's" in refusal("push", RUN, "--repo", "y")
    assert hub.requests == []


def test_no_access_and_no_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "there is no such repository" in refusal("pull", "me/nothing", "--to", "some/where")
    assert not Path("some").exists()
    assert call("push", RUN, "--repo", "me/ticket", "--yes")[0] == 0
    assert "it has no such revision" in refusal("pull", "me/ticket", "--revision", "v2")
    hub.refuses = 403
    message = refusal("push", RUN, "--repo", "me/ticket", "--yes")
    assert "hf auth login" in message and TOKEN not in message
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    assert "hf auth login" in refusal("push", RUN, "--repo", "me/other", "--yes")
    monkeypatch.delenv("HF_TOKEN")
    assert "there is no such repository, or it is private" in refusal("pull", "me/ticket")
    assert "You are not logged in to the Hub" in refusal("push", RUN, "--repo", "me/ticket", "--yes")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    for command in (("pull", "me/ticket"), ("push", RUN, "--repo", "me/ticket", "--yes")):
        message = refusal(*command)
        assert "the Hub can't be reached" in message and TOKEN not in message
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "the Hub can't be reached" in refusal("pull", "me/ticket")


def test_damaged_and_unfinished_runs_are_not_pushed(hub: Hub, trained: Path, tmp_path: Path) -> None:
    unfinished = Store(Path("broken")).run("Pendulum-v1", 0, "dense").folder
    unfinished.mkdir(parents=True)
    assert "broken/runs/Pendulum-v1/seed_0/dense" in refusal("push", unfinished, "--repo", "x")
    folder = Path("copy/runs/Pendulum-v1/seed_0/dense")
    folder.mkdir(parents=True)
    for name in ("manifest.json", "agent.safetensors", "metrics.jsonl", "initial.safetensors"):
        (folder / name).write_bytes((trained / "data/runs/Pendulum-v1/seed_0/dense" / name).read_bytes())
    code, _, _ = call("push", folder, "--repo", "alone")
    assert code == 0 and "the study that this run belongs to is not here" in Path("alone-model-card.md").read_text()
    (folder / "metrics.jsonl").write_bytes(b"changed")
    assert "metrics.jsonl is damaged" in refusal("push", folder, "--repo", "y")
