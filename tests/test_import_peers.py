"""Agents that the real libraries trained act in the same way once they are imported, and can be pruned and trained."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import yaml
from scipy.special import log_softmax

import rlottery
from rlottery.config import load_config
from rlottery.export.policy import mlp_outputs
from rlottery.interop.library import Library
from rlottery.interop.read_agent import read_agent
from rlottery.interop.reconstruction import Reconstruction, reconstructed
from rlottery.interop.replay import read_replay
from rlottery.interop.torch_file import read_torch
from rlottery.storage.disk import read_arrays
from tests.command import call, refusal
from tests.peer_environments import run_peer

RELU = {"net_arch": [8, 6], "activation_fn": "ReLU"}
TANH = {"net_arch": [8, 6], "activation_fn": "Tanh"}
OFF_POLICY = {"steps": 120, "learning_starts": 60, "buffer_size": 1_000}
AGENTS: dict[str, dict[str, Any]] = {
    "sac": {"algorithm": "SAC", "task": "Pendulum-v1", **OFF_POLICY, "policy_kwargs": {"net_arch": [8, 6]}},
    "sac of two": {
        "algorithm": "SAC",
        "task": "Pendulum-v1",
        **OFF_POLICY,
        "environments": 2,
        "ent_coef": "auto_0.1",
        "policy_kwargs": {"net_arch": {"pi": [8], "qf": [6, 4]}},
        "buffer_size": 100,
        "gradient_steps": -1,
    },
    "td3": {"algorithm": "TD3", "task": "Pendulum-v1", **OFF_POLICY, "policy_kwargs": {"net_arch": [8, 6]}},
    "dqn": {
        "algorithm": "DQN",
        "task": "CartPole-v1",
        **OFF_POLICY,
        "policy_kwargs": {"net_arch": [8, 6]},
        "optimize_memory_usage": True,
        "replay_buffer_kwargs": {"handle_timeout_termination": False},
    },
    "ppo": {"algorithm": "PPO", "task": "Pendulum-v1", "steps": 128, "n_steps": 64, "policy_kwargs": RELU},
    "ppo normalised": {
        "algorithm": "PPO",
        "task": "Pendulum-v1",
        "steps": 128,
        "n_steps": 64,
        "policy_kwargs": RELU,
        "normalise": True,
    },
    "ppo discrete": {"algorithm": "PPO", "task": "CartPole-v1", "steps": 128, "n_steps": 64, "policy_kwargs": RELU},
    "scheduled": {
        "algorithm": "TD3",
        "task": "Pendulum-v1",
        **OFF_POLICY,
        "policy_kwargs": {"net_arch": [8, 6]},
        "constant": 3e-4,
    },
    "ppo default": {"algorithm": "PPO", "task": "Pendulum-v1", "steps": 128, "n_steps": 64},
    "ppo default discrete": {"algorithm": "PPO", "task": "CartPole-v1", "steps": 128, "n_steps": 64},
    **{
        f"{name.lower()} tanh": {"algorithm": name, "task": task, **OFF_POLICY, "policy_kwargs": TANH}
        for name, task in (("SAC", "Pendulum-v1"), ("TD3", "Pendulum-v1"), ("DQN", "CartPole-v1"))
    },
    "elu": {
        "algorithm": "PPO",
        "task": "CartPole-v1",
        "steps": 64,
        "n_steps": 64,
        "policy_kwargs": {"activation_fn": "ELU"},
    },
    "a2c": {"algorithm": "A2C", "task": "CartPole-v1", "steps": 10},
    "ddpg": {"algorithm": "DDPG", "task": "Pendulum-v1", **OFF_POLICY},
    "gsde": {"algorithm": "SAC", "task": "Pendulum-v1", **OFF_POLICY, "use_sde": True},
    "tqc": {"algorithm": "TQC", "task": "Pendulum-v1", **OFF_POLICY},
    "trpo": {"algorithm": "TRPO", "task": "CartPole-v1", "steps": 64, "n_steps": 64},
}
REFUSED = {
    "elu": "hidden layers have ELU, and those of agents here have relu or tanh",
    "a2c": "agent of A2C",
    "ddpg": "another number of critics than two, as DDPG has",
    "gsde": "state-dependent noise",
    "tqc": "agent of TQC",
    "trpo": "agent of TRPO",
}
QUICK = ["evaluation.episodes=1"]


@pytest.fixture(scope="module")
def sb3_agents(sb3_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all agents, each in a folder of its name."""
    folder = tmp_path_factory.mktemp("sb3")
    run_peer(sb3_python, "sb3_agents.py", folder, json.dumps(AGENTS))
    return folder


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def arrays_in(file: Path) -> dict[str, np.ndarray]:
    with np.load(file) as arrays:
        return dict(arrays)


def imported(*arguments: str | Path) -> str:
    code, output, message = call("import", *arguments)
    assert code == 0, message
    return output


@pytest.mark.parametrize("name", [name for name in AGENTS if name not in REFUSED])
def test_an_agent_acts_like_the_original(name: str, sb3_agents: Path) -> None:
    files, task = sb3_agents / name, AGENTS[name]["task"]
    more = ["--normalisation", files / "vecnormalize.pkl"] if name == "ppo normalised" else []
    imported(files / "agent.zip", "--task", task, "--initial", files / "initial.zip", *more, *QUICK)
    policy = rlottery.load_agent(f"data/runs/{task}/seed_0/dense")
    acted = arrays_in(files / "acted.npz")
    tanh = "default" in name or "tanh" in name
    assert policy.activation == load_config(Path("config.yaml")).network.activation == ("tanh" if tanh else "relu")
    assert len(acted["observations"]) == 1_000
    actions = policy(acted["observations"])
    assert np.abs(actions - acted["actions"].reshape(actions.shape)).max() <= 1e-5
    if "outputs" in acted:
        outputs = mlp_outputs(policy.layers, acted["observations"], policy.activation)
        outputs = log_softmax(outputs, axis=1) if name.startswith("ppo") else outputs
        assert np.abs(outputs - acted["outputs"]).max() <= 1e-5 and np.ptp(outputs) > 0.01
    else:
        assert np.ptp(actions) > 0.01


@pytest.mark.parametrize("name", REFUSED)
def test_another_agent_is_refused(name: str, sb3_agents: Path) -> None:
    file = sb3_agents / name / "agent.zip"
    message = refusal("import", file, "--task", AGENTS[name]["task"])
    assert REFUSED[name] in message and str(file) in message


def test_settings_are_those_of_the_agent(sb3_agents: Path) -> None:
    imported(sb3_agents / "sac of two" / "agent.zip", "--task", "Pendulum-v1", *QUICK)
    config = load_config(Path("config.yaml"))
    assert config.hidden_layers == {"actor": (8,), "critic": (6, 4)}
    assert config.sac.initial_temperature == 0.1 and config.sac.polyak == 0.005 and config.sac.batch_size == 256
    assert config.sac.log_prob_epsilon == 1e-6
    training = config.training
    assert (training.env_steps, training.warmup_steps, training.environments) == (120, 60, 2)
    assert training.updates_per_step.model_dump() == {"every": 2, "updates": 2}


@pytest.mark.parametrize("name", ["sac", "sac of two", "dqn"])
def test_the_replay_is_what_the_library_stored(name: str, sb3_agents: Path) -> None:
    files, task = sb3_agents / name, AGENTS[name]["task"]
    imported(files / "agent.zip", "--task", task, "--replay", files / "replay.pkl", *QUICK)
    stored = {path.stem: np.load(path) for path in Path(f"data/runs/{task}/seed_0/dense/replay").iterdir()}
    expected = arrays_in(files / "replay.npz")
    for field in ("observations", "next_observations", "rewards", "terminations"):
        np.testing.assert_array_equal(stored[field], expected[field])
    actions = expected["actions"]
    if task == "CartPole-v1":
        assert stored["actions"].sum() == len(actions)
        actions, stored["actions"] = actions[:, 0], stored["actions"].argmax(axis=1)
    np.testing.assert_array_equal(stored["actions"], actions)


FROM_SEED = ["sac of two", "td3", "dqn", "ppo", "ppo default"]


def check_reconstruction(files: Path, python: Path) -> Reconstruction:
    """The library makes exactly the weights that the agent began with."""
    made = reconstructed(read_agent(files / "agent.zip"), Library(python))
    initial = read_agent(files / "initial.zip").agent
    own = [name for name in initial.arrays if not name.startswith(("optimizer.", "updates"))]
    for name in own:
        np.testing.assert_array_equal(made.agent.arrays[name], initial.arrays[name])
    assert made.agent.activation == initial.activation
    assert made.seed == 0 and 0.5 < made.correlation < 1 and any(name.startswith("params.") for name in own)
    return made


@pytest.mark.parametrize("name", FROM_SEED)
def test_initial_weights_are_those_that_the_library_makes_from_the_seed(
    name: str, sb3_agents: Path, sb3_python: Path
) -> None:
    made = check_reconstruction(sb3_agents / name, sb3_python)
    assert re.fullmatch(r"stable-baselines3 2\.9\.\d, torch 2\.13\.\d\S*", made.by)


def test_an_import_with_initial_weights_from_the_seed(sb3_agents: Path, sb3_python: Path) -> None:
    files, how = sb3_agents / "td3", ("--initial-from-seed", "--library-python", sb3_python)
    output = imported(files / "agent.zip", "--task", "Pendulum-v1", *how, *QUICK)
    assert "Initial weights: reconstructed from seed 0 by stable-baselines3 2.9.2, torch" in output
    run = Path("data/runs/Pendulum-v1/seed_0/dense")
    expected = read_agent(files / "initial.zip").agent.arrays
    initial = read_arrays(run / "initial.safetensors")
    for name, array in initial.items():
        np.testing.assert_array_equal(array, expected[f"params.{name}"])
    record = json.loads((run / "manifest.json").read_text())["imported"]
    assert record["reconstructed"]["seed"] == 0 and record["initial"]["file"] == "seed 0"
    # The file has the same weights, so it is the same import.
    again = imported(files / "agent.zip", "--task", "Pendulum-v1", "--initial", files / "initial.zip", *how)
    assert "Nothing was changed" in again


def test_weights_of_another_seed_are_refused(sb3_agents: Path, sb3_python: Path, tmp_path: Path) -> None:
    how = ("--task", "Pendulum-v1", "--initial-from-seed", "--library-python", sb3_python)

    def with_seed(name: str, seed: int | None) -> Path:
        with zipfile.ZipFile(sb3_agents / "td3" / name) as archive:
            files = {entry: archive.read(entry) for entry in archive.namelist()}
        files["data"] = json.dumps({**json.loads(files["data"]), "seed": seed}).encode()
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for entry, data in files.items():
                archive.writestr(entry, data)
        return tmp_path / name

    assert "can't be confirmed as the agent's initial ones" in refusal("import", with_seed("agent.zip", 1), *how)
    assert "trained without a seed" in refusal("import", with_seed("agent.zip", None), *how)
    other = sb3_agents / "td3" / "agent.zip"
    message = refusal("import", other, *how, "--initial", other)
    assert "doesn't have the weights that stable-baselines3" in message and "differ by up to" in message


def test_a_constant_schedule_is_read_by_executing_it(sb3_agents: Path, sb3_python: Path) -> None:
    file = sb3_agents / "scheduled" / "agent.zip"
    task = ("--task", "Pendulum-v1", *QUICK)
    assert "Its learning rate is a schedule" in imported(file, *task)
    assert "schedule" not in imported(file, *task, "--to", "executed", "--library-python", sb3_python)
    assert load_config(Path("executed/config.yaml")).td3.actor_learning_rate == 3e-4


def test_the_library_reads_a_replay_as_the_interpreter_does(sb3_agents: Path, sb3_python: Path, tmp_path: Path) -> None:
    file = sb3_agents / "sac of two" / "replay.pkl"
    executed = read_replay(own_class(file, tmp_path), 3, 1, discrete=False, library=Library(sb3_python)).transitions
    for name, array in read_replay(file, 3, 1, discrete=False).transitions.fields.items():
        np.testing.assert_array_equal(executed.fields[name], array)


def own_class(file: Path, folder: Path) -> Path:
    """The replay in a list that a function takes it out of, so that only executing can read it."""
    path = folder / "own.pkl"
    inner = file.read_bytes()
    start = b"\x80\x04coperator\nitemgetter\n(K\x00tR(]"
    path.write_bytes(start + inner[2:-1] + b"atR.")
    return path


SBX = {
    "sac": {"algorithm": "SAC", "task": "Pendulum-v1", "steps": 30, "learning_starts": 10, "buffer_size": 100},
    "td3": {"algorithm": "TD3", "task": "Pendulum-v1", "steps": 20, "learning_starts": 10, "buffer_size": 100},
    "dqn": {"algorithm": "DQN", "task": "CartPole-v1", "steps": 20, "learning_starts": 10, "buffer_size": 100},
    "ppo": {"algorithm": "PPO", "task": "Pendulum-v1", "steps": 8, "n_steps": 8, "batch_size": 8, "n_epochs": 1},
    "tanh": {"algorithm": "PPO", "task": "Pendulum-v1", "steps": 8, "n_steps": 8, "batch_size": 8, "n_epochs": 1},
}
for _name, _settings in SBX.items():
    own = {"activation_fn": "relu"} if _name == "ppo" else {}
    _settings["policy_kwargs"] = {"net_arch": [8, 6], **own}


@pytest.fixture(scope="module")
def sbx_agents(sbx_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with agents of SBX, each in a folder of its name."""
    folder = tmp_path_factory.mktemp("sbx")
    run_peer(sbx_python, "sbx_agents.py", folder, json.dumps(SBX))
    return folder


@pytest.mark.parametrize("name", SBX)
def test_an_agent_of_sbx_acts_like_the_original(name: str, sbx_agents: Path) -> None:
    files, task = sbx_agents / name, str(SBX[name]["task"])
    replay = ["--replay", files / "replay.pkl"] if name == "sac" else []
    assert "of SBX" in imported(
        files / "agent.zip", "--task", task, "--initial", files / "initial.zip", *replay, *QUICK
    )
    policy, acted = rlottery.load_agent(f"data/runs/{task}/seed_0/dense"), arrays_in(files / "acted.npz")
    actions = policy(acted["observations"])
    assert np.abs(actions - acted["actions"].reshape(actions.shape)).max() <= 1e-5
    assert np.ptp(actions) > 0.01


@pytest.mark.parametrize("name", ["sac", "td3", "dqn", "ppo"])
def test_initial_weights_are_those_that_sbx_makes_from_the_seed(name: str, sbx_agents: Path, sbx_python: Path) -> None:
    made = check_reconstruction(sbx_agents / name, sbx_python)
    assert re.fullmatch(r"sbx 0\.28\.\d, jax 0\.10\.\d, flax 0\.12\.\d", made.by)


def test_an_import_of_sbx_with_initial_weights_from_the_seed(sbx_agents: Path, sbx_python: Path) -> None:
    files, how = sbx_agents / "ppo", ("--initial-from-seed", "--library-python", sbx_python)
    output = imported(files / "agent.zip", "--task", "Pendulum-v1", *how, *QUICK)
    assert "Initial weights: reconstructed from seed 0 by sbx 0.28" in output
    again = imported(files / "agent.zip", "--task", "Pendulum-v1", "--initial", files / "initial.zip")
    assert "Nothing was changed" in again  # the same weights, so the same import


@pytest.fixture(scope="module")
def torch_agents(sb3_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of tests/peers/torch_agents.py."""
    folder = tmp_path_factory.mktemp("torch")
    run_peer(sb3_python, "torch_agents.py", folder)
    return folder


def mapping(**settings: Any) -> list[str]:
    file = Path("mapping.yaml")
    layers = ["network.0", "network.2", "network.4"]
    file.write_text(yaml.safe_dump({"algorithm": "dqn", "activation": "relu", "networks": {"q": layers}, **settings}))
    return ["--mapping", str(file)]


@pytest.mark.parametrize("algorithm", ["td3", "sac"])
def test_cleanrls_actors_act_like_the_original(algorithm: str, torch_agents: Path) -> None:
    steps = ("training.env_steps=500", "training.warmup_steps=100")
    imported(torch_agents / f"{algorithm}.cleanrl_model", "--task", "Pendulum-v1", *QUICK, *steps)
    policy = rlottery.load_agent("data/runs/Pendulum-v1/seed_0/dense")
    acted = arrays_in(torch_agents / f"{algorithm}.npz")
    assert np.abs(policy(acted["observations"]) - acted["actions"]).max() <= 1e-5 and np.ptp(acted["actions"]) > 0.1
    assert load_config(Path("config.yaml")).algorithm == algorithm


@pytest.mark.parametrize(("file", "task"), [("ppo", "CartPole-v1"), ("ppo_continuous", "Pendulum-v1")])
def test_an_agent_of_cleanrls_ppo_acts_like_the_original(file: str, task: str, torch_agents: Path) -> None:
    told = imported(torch_agents / f"{file}.cleanrl_model", "--task", task, *QUICK, "training.env_steps=2048")
    policy, acted = rlottery.load_agent(f"data/runs/{task}/seed_0/dense"), arrays_in(torch_agents / f"{file}.npz")
    assert policy.activation == "tanh"
    if file == "ppo":
        found = mlp_outputs(policy.layers, acted["observations"], "tanh")
    else:  # in the units of Pendulum-v1, clipped as Gymnasium's ClipAction does
        found, acted["actions"] = policy(acted["observations"]), np.clip(acted["actions"], -2.0, 2.0)
        assert "file doesn't have the statistics" in told
    assert np.abs(found - acted["actions"]).max() <= 1e-5 and np.ptp(found) > 0.1


@pytest.mark.parametrize("file", ["dqn.cleanrl_model", "checkpoint.pth", "half.pth", "weights.safetensors"])
def test_files_of_weights_act_like_the_original(file: str, torch_agents: Path) -> None:
    layers = ["network.0", "network.2", "network.4"]
    given: dict[str, Any] = {}
    if file == "checkpoint.pth":
        given = {"networks": {"q": [f"model.{layer}" for layer in layers]}}
    elif file == "weights.safetensors":  # as JAX libraries have them
        tensors = read_torch((torch_agents / "dqn.cleanrl_model").read_bytes())
        renamed = {name.replace(".weight", ".kernel"): np.ascontiguousarray(of.T) for name, of in tensors.items()}
        safetensors.numpy.save_file(renamed, file)
        given = {"weight": "kernel", "axes": "in_out"}
    path = Path(file) if file == "weights.safetensors" else torch_agents / file
    arguments = [] if file == "dqn.cleanrl_model" else mapping(**given)
    imported(path, "--task", "CartPole-v1", *arguments, *QUICK, "training.env_steps=25_000")
    policy = rlottery.load_agent("data/runs/CartPole-v1/seed_0/dense")
    acted = arrays_in(torch_agents / ("dqn.npz" if file == "weights.safetensors" else f"{path.stem}.npz"))
    outputs = mlp_outputs(policy.layers, acted["observations"], policy.activation)
    assert np.abs(outputs - acted["actions"]).max() <= 1e-5 and np.ptp(outputs) > 0.1


def test_weights_that_cant_be_used_are_refused(torch_agents: Path) -> None:
    def why(file: str, *arguments: str) -> str:
        return refusal("import", torch_agents / file, "--task", "CartPole-v1", *arguments)

    assert "names '__main__.Tanh'" in why("module.pth") and "was not executed" in why("module.pth")
    assert "PyTorch before 1.6" in why("old.pth")
    assert "it isn't known what its layers are for: model.network.0" in why("checkpoint.pth")
    Path("mapping.yaml").write_text("algorithm: dqn\nactivation: elu\nnetworks: {q: [network.0]}\n")
    assert "mapping.yaml:2: activation: must be relu or tanh" in why("dqn.cleanrl_model", "--mapping", "mapping.yaml")
    assert "there is no such file; docs/import-libraries.md" in why("dqn.cleanrl_model", "--mapping", "nothing.yaml")


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"networks": {"q": ["network.0", "network.9"]}}, "it lacks 'network.9.weight'"),
        ({"networks": {"q": ["network.0", "network.4"]}}, "'network.4' reads 6 inputs, but the layer before it has 8"),
        ({"networks": {"actor": ["network.0"]}}, "must name the networks of dqn, q"),
        ({"axes": "in_out"}, "reads 6 inputs|reads 8 inputs|bias' has the shape"),
        ({"algorithm": "td3"}, "must name the networks of td3"),
        ({"targets": {"actor": ["network.0"]}}, "no target of 'actor'"),
        ({"arrays": {"log_std": "network.0.bias"}}, "no such part"),
    ],
)
def test_a_mapping_that_doesnt_fit_is_refused(settings: dict[str, Any], why: str, torch_agents: Path) -> None:
    arguments = [*mapping(**settings), "training.env_steps=25_000"]
    message = refusal("import", torch_agents / "dqn.cleanrl_model", "--task", "CartPole-v1", *arguments)
    assert any(part in message for part in why.split("|")), message


@pytest.fixture(scope="module")
def cleanrl_jax_agents(sbx_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of tests/peers/cleanrl_jax_agents.py."""
    folder = tmp_path_factory.mktemp("cleanrl_jax")
    run_peer(sbx_python, "cleanrl_jax_agents.py", folder)
    return folder


@pytest.mark.parametrize(("algorithm", "task"), [("dqn", "CartPole-v1"), ("td3", "Pendulum-v1")])
def test_an_agent_of_cleanrl_in_jax_acts_like_the_original(algorithm: str, task: str, cleanrl_jax_agents: Path) -> None:
    file = cleanrl_jax_agents / f"{algorithm}.cleanrl_model"
    imported(file, "--task", task, *QUICK, "training.env_steps=30_000")
    policy = rlottery.load_agent(f"data/runs/{task}/seed_0/dense")
    acted = arrays_in(cleanrl_jax_agents / f"{algorithm}.npz")
    acts = policy if algorithm == "td3" else lambda seen: mlp_outputs(policy.layers, seen, policy.activation)
    assert np.abs(acts(acted["observations"]) - acted["actions"]).max() <= 1e-5 and np.ptp(acted["actions"]) > 0.1
    assert load_config(Path("config.yaml")).algorithm == algorithm


def test_other_agents_of_cleanrl_in_jax_are_refused(cleanrl_jax_agents: Path, tmp_path: Path) -> None:
    for name, why in (
        ("c51", "an agent of CleanRL's C51"),
        ("ddpg", "one critic, as CleanRL's DDPG has"),
        ("ppo", "its networks have convolutions"),
    ):
        assert why in refusal("import", cleanrl_jax_agents / f"{name}.cleanrl_model", "--task", "Pendulum-v1")
    whole = (cleanrl_jax_agents / "dqn.cleanrl_model").read_bytes()
    for length in (1, 100, len(whole) - 1):
        (tmp_path / "cut.cleanrl_model").write_bytes(whole[:length])
        assert "or it is damaged" in refusal("import", tmp_path / "cut.cleanrl_model", "--task", "CartPole-v1")


def test_adams_moments_are_imported(sb3_agents: Path) -> None:
    imported(sb3_agents / "sac" / "agent.zip", "--task", "Pendulum-v1", *QUICK)
    agent = read_arrays(Path("data/runs/Pendulum-v1/seed_0/dense/agent.safetensors"))
    expected = arrays_in(sb3_agents / "sac" / "moments.npz")
    np.testing.assert_array_equal(agent["optimizer.actor.0.nu.layer_0.kernel"], expected["first"].T)
    np.testing.assert_array_equal(agent["optimizer.critic.0.mu.q2.layer_2.kernel"], expected["last"].T)
    assert agent["optimizer.critic.0.count"] == expected["steps"]
