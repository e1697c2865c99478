"""Reading scores of runs that other tools have trained."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlottery.errors import StudyError
from rlottery.interop.results import are_results, read_results
from rlottery.interop.run_names import Named, Pattern, usual_name
from rlottery.interop.score_csv import TASK, Naming
from rlottery.interop.scored_runs import Elsewhere
from tests.peer_environments import run_peer


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(text: str, name: str = "scores.csv", **naming: Any) -> Elsewhere:
    Path(name).write_text(text)
    return read_results([name], Naming(**naming))


def curves(found: Elsewhere) -> dict[tuple[str, str, int], list[tuple[int | None, float]]]:
    return {(run.task, run.arm, run.seed): [(row.step, row.score) for row in run.rows] for run in found.runs}


TABLE = "task,arm,seed,step,score\nHopper-v4,dense,0,100,2.5\nHopper-v4,dense,0,50,1e1\nHopper-v4,sparse,3,100,-4\n"
EXPECTED = {("Hopper-v4", "dense", 0): [(50, 10.0), (100, 2.5)], ("Hopper-v4", "sparse", 3): [(100, -4.0)]}


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        (TABLE, {}),
        ("\ufeff" + TABLE.replace("\n", "\r\n"), {}),
        (TABLE.replace(",", ";"), {}),
        (TABLE.replace("task,arm,seed,step,score", "Env_ID,Algo,SEED,global_step,Episodic_Return"), {}),
        (
            TABLE.replace("task,arm,seed,step,score", "where,who,n,when,what"),
            {"task": "where", "arm": "who", "seed": "n", "step": "when", "score": "what"},
        ),
        (TABLE.replace(",0,", ",seed_0,").replace(",100,", ",100.0,") + "\n\n", {}),
    ],
)
def test_tables_whatever_their_columns_are_called(text: str, columns: dict[str, str]) -> None:
    assert curves(read(text, columns=columns)) == EXPECTED


def test_a_table_of_final_scores_of_one_task() -> None:
    found = read("arm,seed,return\ndense,0,1\ndense,1,2\n")
    assert curves(found) == {(TASK, "dense", 0): [(None, 1.0)], (TASK, "dense", 1): [(None, 2.0)]}
    assert not found.runs[0].has_steps


def test_columns_say_what_arms_are() -> None:
    found = read('arm,seed,score,kind,of\nbase,0,1,Dense,\nlth,0,1,,\nrnd,0,1,control,"lth;imp"\nimp,0,1,ticket,\n')
    assert found.kinds == {"base": "dense", "rnd": "control", "imp": "ticket"}
    assert found.controls == {"rnd": ("lth", "imp")}
    assert read("arm,seed,score,sparsity\na,0,1,0.9\nb,0,1,\n").sparsity == {"a": 0.9}


def test_a_chart_of_weights_and_biases() -> None:
    text = (
        '"Step","ppo-seed1 - eval/return","ppo-seed1 - eval/return__MIN","ppo-seed1 - eval/return__MAX",'
        '"Hopper-v4__sac__2__1700000000 - eval/return"\n"100","1.5","1.5","1.5",""\n"200","2.5","2","3","-1"\n'
    )
    expected = {(TASK, "ppo", 1): [(100, 1.5), (200, 2.5)], ("Hopper-v4", "sac", 2): [(200, -1.0)]}
    assert curves(read(text)) == expected
    assert curves(read(text.replace('"Step"', '"trainer/global_step"'))) == expected
    odd = text.replace("Hopper-v4__sac__2__1700000000", "7: sac!").replace("ppo-seed1", "1: ppo!")
    assert list(curves(read(odd, runs=Pattern("{seed}: {arm}!")))) == [(TASK, "ppo", 1), (TASK, "sac", 7)]


def test_histories_of_single_runs_with_rows_about_other_things(tmp_path: Path) -> None:
    for arm in ("lean", "full"):
        for seed in (0, 1):
            folder = Path("logs") / arm / f"seed_{seed}"
            folder.mkdir(parents=True)
            (folder / "progress.csv").write_text(
                "time/total_timesteps,train/loss,eval/mean_reward\n"
                f"100,0.1,\n200,,{seed}\n300,0.2,\n400,0.1,{seed + 1}\n"
            )
    by_pattern = read_results(["logs/{arm}/seed_{seed}/progress.csv"], Naming())
    assert curves(by_pattern) == {
        (TASK, arm, seed): [(200, float(seed)), (400, seed + 1.0)] for arm in ("full", "lean") for seed in (0, 1)
    }
    for sources in (
        ["logs"],
        [str(path) for path in Path("logs").rglob("*.csv")],
        [f"{tmp_path}/logs/{{arm}}/*_{{seed}}/*"],
    ):
        assert curves(read_results(sources, Naming())) == curves(by_pattern)


def evaluations(path: Path, **arrays: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)


def test_evaluations_of_stable_baselines3() -> None:
    steps, results = np.array([1000, 2000]), np.array([[1.0, 3.0], [5.0, 6.0]])
    evaluations(Path("a/0/evaluations.npz"), timesteps=steps, results=results, ep_lengths=results.astype(int))
    evaluations(Path("a/1/evaluations.npz"), timesteps=steps, results=results, successes=results > 3)
    found = read_results(["a"], Naming())
    assert curves(found) == {(TASK, "a", seed): [(1000, 2.0), (2000, 5.5)] for seed in (0, 1)}
    assert found.runs[0].rows[0].returns == [1.0, 3.0]
    assert curves(read_results(["a/1/evaluations.npz"], Naming(), "success"))[TASK, "a", 1] == [
        (1000, 0.0),
        (2000, 1.0),
    ]
    with pytest.raises(StudyError, match="it has no array successes, but timesteps, results, ep_lengths"):
        read_results(["a"], Naming(), "success")


def monitor(started: float, *episodes: tuple[float, int, float]) -> str:
    about = json.dumps({"t_start": started, "env_id": "Hopper-v4"})
    return f"#{about}\nr,l,t\n" + "".join(f"{r},{length},{t}\n" for r, length, t in episodes)


def test_monitor_files_of_all_environments_of_a_run() -> None:
    """Episodes in the order in which they ended; each evaluation is the mean of two; the last one is left over."""
    folder = Path("logs/ppo/seed_4")
    folder.mkdir(parents=True)
    (folder / "0.monitor.csv").write_text(monitor(100.0, (1, 10, 1.0), (3, 30, 3.0), (9, 5, 9.0)))
    (folder / "1.monitor.csv").write_text(monitor(101.0, (2, 20, 1.0), (4, 40, 4.0)))
    found = read_results(["logs"], Naming(), episodes=2)
    assert curves(found) == {("Hopper-v4", "ppo", 4): [(30, 1.5), (100, 3.5)]}
    assert found.training and found.sources == ("2 files in logs/ppo/seed_4: training episodes, 2 means of 2",)
    with pytest.raises(StudyError, match=r"5 episodes, and 10 make an evaluation. Set evaluation.episodes=5"):
        read_results(["logs"], Naming())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Hopper-v4__ppo_continuous__3__1700000000", Named("Hopper-v4", "ppo_continuous", 3)),
        ("runs/sac/seed_2", Named(None, "sac", 2)),
        ("sac/10", Named(None, "sac", 10)),
        ("sac-large_seed-4", Named(None, "sac-large", 4)),
        ("sac_7", Named(None, "sac", 7)),
        ("fluffy-cloud", None),
        ("12", None),
    ],
)
def test_usual_names_of_runs(name: str, expected: Named | None) -> None:
    assert usual_name(name) == expected


HEADER = "task,arm,seed,step,score\n"
BAD: dict[str, tuple[str, str]] = {
    "empty": ("", r"scores.csv: the file is empty. Give a CSV, or monitor.csv or evaluations.npz"),
    "blank": ("\n \n", r"scores.csv: the file is empty"),
    "separators": (",,\n,,\n", r"scores.csv: the file has only separators"),
    "no rows": (HEADER, r"scores.csv: there is no score in this file"),
    "no score": ("task,arm,seed,step,loss\n", "scores.csv:1: there is no column for the score. The columns are task"),
    "no seed": ("task,arm,step,score\na,b,1,2\n", "1: there is no column for the seed.*--columns seed=NAME"),
    "text": (HEADER + "a,b,0,1,2\na,b,0,2,high\n", r"scores.csv:3: the score 'high' is not a number"),
    "comma": (HEADER.replace(",", ";") + "a;b;0;1;2,5\n", r"scores.csv:2: .* Write decimals with a point"),
    "nan": (HEADER + "a,b,0,1,nan\n", r"scores.csv:2: the score is nan. Give a run that diverged"),
    "missing": (HEADER + "a,b,0,1,\n", r"scores.csv:2: the score '' is not a number"),
    "infinite": (HEADER + "a,b,0,1,-inf\n", r"scores.csv:2: the score is -inf"),
    "twice": (
        HEADER + "a,b,0,1,2\na,b,1,1,2\na,b,0,1,3\n",
        r"scores.csv:4: arm b, seed 0 on a, step 1: is there twice, the first time at scores.csv:2",
    ),
    "twice without a step": ("arm,seed,score\nb,0,1\nb,0,2\n", r"scores.csv:3: .* has no step, and is there twice"),
    "half a seed": (HEADER + "a,b,0.5,1,2\n", r"scores.csv:2: the seed '0.5' is not a whole number"),
    "negative seed": (HEADER + "a,b,-1,1,2\n", r"scores.csv:2: the seed '-1' is not a whole number"),
    "seed with an exponent": (HEADER + "a,b,1e3,1,2\n", r"scores.csv:2: the seed '1e3' is not a whole number"),
    "negative step": (HEADER + "a,b,0,-1,2\n", r"scores.csv:2: step -1 is out of range"),
    "half a step": (HEADER + "a,b,0,1.5,2\n", r"scores.csv:2: the step '1.5' is not a whole number"),
    "short line": (HEADER + "a,b,0\n", r"scores.csv:2: 3 fields, but 5 columns"),
    "two columns": ("arm,arm,score\n", r"scores.csv:1: two columns are called 'arm'"),
    "no arm": (HEADER + "a,,0,1,2\n", r"scores.csv:2: the arm is missing"),
    "unknown kind": ("arm,seed,score,kind\nb,0,1,best\n", r"scores.csv:2: the kind 'best' is unknown"),
    "percent": ("arm,seed,score,sparsity\nb,0,1,90\n", r"scores.csv:2: the sparsity 90 is not .*; write 0.9 for 90 %"),
    "too much": ("arm,seed,score,sparsity\nb,0,1,100\n", r"scores.csv:2: the sparsity 100 is not .* to below 1\.$"),
    "two sparsities": ("arm,seed,score,sparsity\nb,0,1,0.9\nb,1,1,0.8\n", r"scores.csv:3: b has the sparsity 0.8, and"),
    "two kinds": ("arm,seed,score,kind\nb,0,1,dense\nb,1,1,ticket\n", r"scores.csv:3: b is called ticket, and dense"),
    "odd run": ("Step,fluffy-cloud - return\n1,2\n", r"scores.csv:1: the run is called 'fluffy-cloud'.*--names"),
    "a time": ("Relative Time (Wall),a-1 - return\n0.5,2\n", r"scores.csv:2: the step '0.5' is not a whole number"),
    "two metrics": ("Step,a-1 - loss,a-1 - return\n1,2,3\n", "scores.csv:1: the columns have several metrics: loss"),
    "a quote": (HEADER + 'a,"b,0,1,2\n', r"scores.csv:2: this is not CSV"),
    "not text": ("arm\udcff", r"scores.csv:1: this is not UTF-8 text"),
    "no monitor": ("#{}\nr,l,t\n", r"scores.csv:1: this is not the first line of a monitor file"),
    "monitor without lengths": (monitor(0).replace("r,l,t", "r,t"), r"scores.csv:2: there is no column 'l'"),
    "monitor with text": (monitor(0) + "x,1,2\n", r"scores.csv:3: this is not an episode"),
    "monitor of no system": (monitor(0) + "1,2,3\r4,5,6\n", r"scores.csv:3: this is not CSV"),
    "monitor with a long field": (monitor(0) + "9" * 140_000 + ",1,2\n", r"scores.csv:3: this is not CSV"),
    "monitor that began too late": (monitor(10**400), r"scores.csv:1: this is not the first line of a monitor file"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_one_message_with_file_and_line(text: str, message: str) -> None:
    Path("scores.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(StudyError, match=message) as refused:
        read_results(["scores.csv"], Naming())
    assert "\n" not in str(refused.value)


def test_success_rates_and_columns_that_are_none() -> None:
    Path("scores.csv").write_text("arm,seed,score\na,0,0.5\na,1,1.5\n")
    with pytest.raises(StudyError, match=r"scores.csv:3: 1.5 is no success rate, which is between 0 and 1"):
        read_results(["scores.csv"], Naming(), "success")
    with pytest.raises(StudyError, match="--columns foo=...: unknown. A column may be the task, arm, seed"):
        read_results(["scores.csv"], Naming({"foo": "arm"}))


def test_paths_that_say_too_little_or_are_not_there() -> None:
    stream = io.BytesIO()
    np.savez(stream, timesteps=np.array([1]), results=np.array([[1.0]]))
    Path("evaluations.npz").write_bytes(stream.getvalue())
    with pytest.raises(StudyError, match=r"evaluations.npz: its path doesn't say the arm and the seed"):
        read_results(["{task}.npz"], Naming())
    Path("empty").mkdir()
    for source, message in {
        "none.csv": "there is no such file",
        "logs/{arm}/{seed}.csv": "no file has such a path",
        "logs/{run}.csv": "a pattern may contain {task}, {arm} and {seed}",
        "empty": "this folder has no evaluations.npz",
    }.items():
        with pytest.raises(StudyError, match=message):
            read_results([source], Naming())


def test_an_npz_file_without_evaluations() -> None:
    np.savez("evaluations.npz", timesteps=np.zeros(0, int), results=np.zeros((0, 5)))
    with pytest.raises(StudyError, match=r"there is no evaluation in it: results has the shape \(0, 5\)"):
        read_results(["evaluations.npz"], Naming())


def test_a_damaged_npz_file_is_not_called_another_archive() -> None:
    np.savez("evaluations.npz", timesteps=np.array([1]), results=np.array([[1.0]]))
    cut = Path("evaluations.npz").read_bytes()[:-30]
    for name, is_other in {"evaluations.npz": False, "evaluations.zip": True}.items():
        Path(name).write_bytes(cut)
        with pytest.raises(StudyError, match=f"{name} can't be read: ") as error:
            read_results([name], Naming())
        assert ("Of ZIP archives, only evaluations.npz" in str(error.value)) == is_other


def test_an_npz_file_that_would_unpickle_is_refused() -> None:
    np.savez("evaluations.npz", timesteps=np.array([1]), results=np.array([[None]]))
    with pytest.raises(StudyError, match="is no array of numbers"):
        read_results(["evaluations.npz"], Naming())


def test_logs_of_the_real_stable_baselines3(sb3_python: Path) -> None:
    """Evaluations as NumPy reads them, and episodes in the order of Stable-Baselines3's own reader."""
    told = json.loads(run_peer(sb3_python, "sb3_results.py", Path.cwd() / "logs").splitlines()[-1])
    for seed, expected in told.items():
        key = (TASK, "ppo", int(seed))
        assert curves(read_results(["logs"], Naming()))[key] == list(
            zip(expected["steps"], expected["means"], strict=True)
        )
        found = read_results(["logs/{arm}/seed_{seed}/*.monitor.csv"], Naming(), episodes=1)
        returns, lengths = zip(*expected["episodes"], strict=True)
        steps = np.cumsum(lengths).tolist()
        assert curves(found)["CartPole-v1", "ppo", int(seed)] == list(zip(steps, returns, strict=True))


def test_a_folder_that_may_be_anything_is_not_searched_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(300):
        (tmp_path / "home" / str(number)).mkdir(parents=True)
    looked_into, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: looked_into.append(path) or scandir(path))
    assert not are_results("home") and len(looked_into) <= 101
    (tmp_path / "home" / "scores.csv").touch()
    assert are_results("home")
