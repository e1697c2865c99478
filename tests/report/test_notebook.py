"""A study in a Python session and in a notebook."""

from pathlib import Path

from rlottery.report.notebook import load_study
from rlottery.storage.paths import Store
from rlottery.storage.study_record import note_command
from tests.analysis.stores import config, success, write_run


def study(folder: Path):
    store = Store(folder / "data")
    settings = config(seeds=range(5)).model_copy(update={"data": store.root, "name": "trial"})
    for seed in range(5):
        write_run(store, "dense", seed, success(0.0, 1.0, 1.0, 1.0))
        write_run(store, "magnitude-80", seed, success(0.0, 0.5, 0.5, 0.5))
    note_command(settings, has_work=True)
    return load_study(store.root)


def test_its_repr_is_a_few_lines(tmp_path):
    lines = repr(study(tmp_path)).splitlines()
    assert lines[0] == f"Study 'trial' in {tmp_path / 'data'}"[: len(lines[0])]
    assert "2 arms, 5 seeds, 10 of 10 runs done" in lines[2]
    assert len(lines) <= 5 and max(map(len, lines)) <= 120


def test_a_notebook_shows_its_table_and_its_main_figure(tmp_path):
    shown = study(tmp_path)._repr_html_()
    assert shown.count("<table") == shown.count("<figure") == shown.count("<svg") == 1
    assert '<td class="number" data-order="0.5">0.50</td>' in shown
    assert "reach-v3: mean success rate of n = 5 of 5 seeds per arm" in shown


def test_a_study_without_a_ticket_is_shown_too(tmp_path):
    store = Store(tmp_path / "data")
    settings = config(seeds=(0,)).model_copy(update={"data": store.root})
    write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0))
    note_command(settings, has_work=True)
    shown = load_study(store.root)._repr_html_()
    assert "<table" in shown and "<figure" not in shown
