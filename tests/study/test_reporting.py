"""`rlottery report` and `rlottery compare`, as they are typed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from rlottery.config import config_to_dict, load_config
from rlottery.storage.paths import Store
from rlottery.storage.study_record import config_from_record, note_command, read_study_record
from rlottery.study.planning.fingerprints import dense_fingerprint
from tests.analysis.stores import config, success, write_run
from tests.study.studies import contents
from tests.test_cli import call, refusal


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with a config.yaml and its study, of two seeds."""
    monkeypatch.chdir(tmp_path)
    write_study("config.yaml", "data", rate=0.2)
    yield tmp_path


def write_study(file: str, folder: str, rate: float, arm: str = "magnitude-80") -> None:
    settings = config().model_copy(update={"data": Path(folder), "name": Path(file).stem})
    Path(file).write_text(yaml.safe_dump(config_to_dict(settings)))
    for seed in (0, 1):
        write_run(Store(Path(folder)), "dense", seed, success(0.0, 1.0, 1.0, 1.0))
        write_run(Store(Path(folder)), arm, seed, success(0.0, rate, rate, rate + seed / 10))
    note_command(settings, has_work=True)


def text(output: str) -> str:
    return " ".join(output.split())


class TestReport:
    @pytest.mark.parametrize("study", [[], ["config.yaml"], ["data"], ["data/"]])
    def test_a_config_file_or_a_data_folder(self, study: list[str]) -> None:
        code, output, errors = call("report", *study)
        assert (code, errors) == (0, "Reading 4 runs of data ...\n")
        assert "0.23" in output and "5 are needed" in text(output)
        page = Path("data/report/report.html").read_text()
        assert "Nothing is decided" in page and "magnitude-80" in page
        assert Path("data/report/comparison.md").exists() and Path("data/report/tables/verdicts.csv").exists()

    def test_settings_of_the_verdict_can_be_tried(self) -> None:
        code, output, _ = call("report", "config.yaml", "verdict.least_seeds=3")
        assert code == 0 and "3 are needed" in text(output)

    def test_it_changes_nothing_but_the_report(self) -> None:
        before = {path: path.read_bytes() for path in Path("data").rglob("*") if path.is_file()}
        call("report")
        after = {path: path.read_bytes() for path in Path("data").rglob("*") if path.is_file()}
        assert {path for path in after if path not in before} == {
            path for path in after if path.is_relative_to("data/report")
        }
        assert all(after[path] == content for path, content in before.items())

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["nowhere"], "There is no study at nowhere"),
            (["nowhere.yaml"], "there is no such file"),
            (["empty"], "empty is empty"),
            (["foreign"], "foreign holds no study"),
            (["config.yaml", "data=elsewhere"], "elsewhere has no runs yet. Start with `rlottery run config.yaml`"),
            (["data", "verdict.margin=0.2"], "keys can be set only for a config file"),
            (["config.yaml", "verdict.margin=0"], "must be a number above 0 and at most 1"),
            (["config.yaml", "verdict.least_seeds=2"], "must be a whole number of at least 3"),
            (["config.yaml", "verdict.level=0.5"], "must be a number above 0 and at most 0.2"),
        ],
    )
    def test_bad_input(self, arguments: list[str], said: str) -> None:
        Path("empty").mkdir()
        (Path("foreign") / "photos").mkdir(parents=True)
        assert said in refusal("report", *arguments)

    def test_runs_without_a_record(self) -> None:
        Path("data/study.json").unlink()
        missing = "has runs, but no study.json with the study's settings."
        fix = "A report from the study's config file creates it: rlottery report CONFIG data=data"
        for command in (["report", "data"], ["status", "data"], ["verify", "data"], ["compare", "data", "config.yaml"]):
            assert f"{missing} {fix}" in refusal(*command)
        assert call("report", "config.yaml", "data=data")[0] == 0
        assert config_from_record(read_study_record(Path("data")), Path("data")) == load_config("config.yaml")
        assert call("report", "data")[0] == call("status", "data")[0] == 0

    def test_a_record_is_not_begun_by_what_is_only_tried(self) -> None:
        Path("data/study.json").unlink()
        assert call("report", "--to", "trial")[0] == 0
        assert not Path("data/study.json").exists()
        code, output, _ = call("report", "config.yaml", "seeds=[0]")
        assert code == 0 and "these settings do not include data/runs/reach-v3/seed_1" in text(output)
        assert not Path("data/study.json").exists()

    def test_a_record_is_not_begun_with_settings_that_the_runs_do_not_have(self) -> None:
        Path("data/study.json").unlink()
        trained = load_config("config.yaml", ["sac.batch_size=64"])
        fingerprint = dense_fingerprint(trained, trained.tasks[0], 0)
        write_run(Store(Path("data")), "dense", 0, success(0.0, 1.0, 1.0, 1.0), fingerprint=fingerprint)
        code, output, _ = call("report")
        assert code == 0 and "is not written: runs have other settings" in text(output)
        assert not Path("data/study.json").exists()

    def test_settings_that_are_only_tried_leave_the_studys_page_alone(self) -> None:
        call("report")
        before = contents(Path("data"))
        code, output, _ = call("report", "config.yaml", "seeds=[0]", "verdict.least_seeds=3", "--to", "trial")
        assert code == 0 and "trial/report.html" in output and "data/report" not in output
        assert contents(Path("data")) == before
        written = {str(path.relative_to("trial")) for path in Path("trial").rglob("*")}
        assert {"report.html", "comparison.md", "figures", "tables"} <= written
        assert "3 are needed" in Path("trial/report.html").read_text()
        assert call("report", "--to", "trial")[0] == 0

    def test_a_report_folder_that_cannot_be_written_is_reported_before_anything_is_read(self) -> None:
        Path("data/report").write_text("a file in its place")
        said = "The report can't be written to {}: {} is a file. Choose another folder: --to FOLDER"
        assert said.format("data/report", "data/report") in refusal("report")
        assert said.format("config.yaml", "config.yaml") in refusal("report", "--to", "config.yaml")
        assert said.format("config.yaml/deep/er", "config.yaml") in refusal(
            "report", "data", "--to", "config.yaml/deep/er"
        )
        assert call("report", "--to", "elsewhere")[0] == 0

    @pytest.mark.skipif(not Path("/proc/self").exists(), reason="no file system here that refuses everyone")
    def test_a_place_that_refuses_everyone(self) -> None:
        assert "The report can't be written to /proc/page: " in refusal("report", "--to", "/proc/page")

    def test_masks_are_not_made_for_a_report_that_can_not_be_written(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("rlottery.study.stages.resampling.measure_stability", None)
        assert "is a file" in refusal("report", "--stability", "2", "--to", "config.yaml")

    @pytest.mark.parametrize("name", ["figures/mine.png", "tables/mine.txt", "report.html", "comparison.md", "figures"])
    def test_a_folder_with_files_of_the_users_in_the_places_of_its_own(self, name: str) -> None:
        for folder in (Path("thesis"), Path("data/report")):
            (folder / name).parent.mkdir(parents=True)
            (folder / name).write_text("mine")
            said = f"{folder / name} was not written by rlottery, and a file of the report would take its place."
            place = [] if folder == Path("data/report") else ["--to", "thesis"]
            assert f"{said} Move it, or choose another folder: --to FOLDER" in refusal("report", *place)
        # A study asks before it trains: `data: .` in a repository may mean somebody's report.
        assert f"{said} Move it, or choose another folder: data=FOLDER" in refusal("run", "config.yaml", "workers=1")
        assert f"{said}" in refusal("run", "--dry-run")

    def test_other_files_of_the_users_may_be_there(self) -> None:
        mine = [Path("thesis/thesis.tex"), Path("thesis/notes/report.html")]
        for path in mine:
            path.parent.mkdir(exist_ok=True)
            path.write_text("mine")
        assert call("report", "--to", "thesis")[0] == call("report", "--to", "thesis")[0] == 0
        assert [path.read_text() for path in mine] == ["mine", "mine"]

    def test_a_report_of_an_earlier_version_is_replaced_and_what_it_left_stays(self) -> None:
        call("report")
        report = Path("data/report")
        (report / "report_files.json").unlink()
        (report / "report.html").write_text('<meta name="generator" content="rlottery">\nof before')
        (report / "figures/own.png").write_text("mine")
        assert call("report")[0] == 0
        assert "of before" not in (report / "report.html").read_text()
        assert (report / "figures/own.png").read_text() == "mine"

    def test_edited_files_are_kept_and_the_terminal_says_where(self) -> None:
        call("report")
        Path("data/report/tables/runs.csv").write_text("mine")
        assert "The changed file is now data/report/tables/runs.csv.changed" in text(call("report")[1])
        assert Path("data/report/tables/runs.csv.changed").read_text() == "mine"
        assert Path("data/report/tables/runs.csv").read_text() != "mine"


class TestCompare:
    def test_two_studies(self) -> None:
        write_study("other.yaml", "other", rate=0.8)
        code, output, errors = call("compare", "config.yaml", "other", "--to", "compared")
        assert (code, errors) == (0, "Reading 4 runs of data ...\nReading 4 runs of other ...\n")
        assert {path.name for path in Path("compared").iterdir()} == {
            *("compare.html", "compare_files.json", ".compare_files.json.lock"),
            *("verdicts.csv", "verdicts.md", "differences.csv", "differences.md"),
        }
        rows = Path("compared/differences.csv").read_text().splitlines()
        header, dense, ticket = (row.split(",") for row in rows)
        told = dict(zip(header, ticket, strict=True))
        assert (told["one"], told["other"], told["arm"]) == ("config", "other", "magnitude-80")
        # 0.2, 0.2333 and 0.8, 0.8333 on average over the last two evaluations.
        assert float(told["difference"]) == pytest.approx(0.6)
        assert dict(zip(header, dense, strict=True))["difference"] == "0.0"
        assert "magnitude-80" in output
        page = Path("compared/compare.html").read_text()
        assert "magnitude-80" in page and "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")

    def test_what_only_one_has_is_said(self) -> None:
        write_study("other.yaml", "other", rate=0.8, arm="taylor-80")
        code, output, _ = call("compare", "data", "other")
        assert code == 0 and "arms of config: magnitude-80" in text(output)

    def test_bad_input(self) -> None:
        assert "needs two studies or more" in refusal("compare", "data")
        assert "is given twice" in refusal("compare", "data", "config.yaml")
        write_study("other.yaml", "other", rate=0.8)
        said = "The report can't be written to config.yaml: config.yaml is a file. Choose another folder: --to FOLDER"
        assert said in refusal("compare", "data", "other", "--to", "config.yaml")
        assert "There is no study at nowhere" in refusal("compare", "data", "nowhere")
        Path("moved.yaml").write_text(Path("config.yaml").read_text().replace("data: data", "data: nowhere"))
        assert "give that folder instead of moved.yaml" in refusal("compare", "moved.yaml", "data")

    def test_a_folder_with_files_of_the_users_in_the_places_of_its_own(self) -> None:
        write_study("other.yaml", "other", rate=0.8)
        Path("comparison").mkdir()
        Path("comparison/verdicts.csv").write_text("mine")
        assert "comparison/verdicts.csv was not written by rlottery" in refusal("compare", "data", "other")
        assert [call("compare", "data", "other", "--to", "to")[0] for _ in range(2)] == [0, 0]

    def test_studies_that_share_nothing(self) -> None:
        settings = config(["push-v3"]).model_copy(update={"data": Path("other"), "name": "other"})
        write_run(Store(Path("other")), "dense", 0, success(0.0, 1.0), task="push-v3")
        note_command(settings, has_work=True)
        code, _, errors = call("compare", "data", "other")
        assert code == 2 and "share no finished arm of any task" in errors
