"""A study with odd text in every place that its settings don't check: names of folders, errors, versions, commands.

No command ends with a traceback, writes commands to the terminal, or makes files that are not well-formed.
"""

import csv
import io
import re
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pytest
import yaml

import rlottery
from rlottery.config import config_to_dict
from rlottery.report.labels import drawn_name
from rlottery.report.page import table_html
from rlottery.report.table_formats import escaped, to_csv
from rlottery.report.tables import Cell, Column, make_table
from rlottery.storage.manifests import read_sealed, write_sealed
from rlottery.storage.paths import Store
from rlottery.storage.study_record import note_command
from tests.analysis.stores import config, success, write_mask, write_run
from tests.test_cli import call

ODD = "\x1b[2J$\\frac{$\u202e\u200b<b>&\"'|`\x9b\udce9\ud83d漢\U0010ffff\n-->]]>\r=1+1\x07"
"""Escapes, mathematics, directions, nothing, markup, bytes, half a character, one that no font has, lines."""
IN_A_NAME = "\x1b[2J$\\frac{$\u202e<b>&\"'|`\udc9b漢\n-->=1+1"
"""What of it a folder's name may contain."""
LONG = "x" * 180


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working directory: config.yaml, its study in data, and one that shares its arms in other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("odd"))
        settings = config().model_dump() | {
            "tasks": [{"id": "reach-v3", "kwargs": {"name": ODD.encode("utf-8", "replace").decode()}}]
        }
        for folder, rate in (("data", 0.3), ("other", 0.6)):
            made = type(config()).model_validate({**settings, "data": folder, "name": folder})
            Path("config.yaml" if folder == "data" else "other.yaml").write_text(yaml.safe_dump(config_to_dict(made)))
            store = Store(Path(folder))
            for seed in (0, 1):
                write_run(store, "dense", seed, success(0.0, 1.0, 1.0, 1.0), versions={ODD: ODD, "=a": "-1"})
                for arm in (f"magnitude-80-{IN_A_NAME}", f"taylor-90-{LONG}", "=cmd-80"):
                    facts = {"recipe": {ODD: ODD}, "criterion": f"+{ODD}"} if arm[0] == "=" else {}
                    write_run(store, arm, seed, success(0.0, rate, rate, rate + seed / 10), **facts)
                    write_mask(store.run("reach-v3", seed, arm).mask, range(2 + seed))
                write_run(store, f"random-80-{ODD[:3]}", seed, success(0.0), error=ODD)
                write_run(store, f"broken-80-{IN_A_NAME}", seed, success(0.0, 0.1))
                store.run("reach-v3", seed, f"broken-80-{IN_A_NAME}").metrics.write_text(ODD[0])
            note_command(made, has_work=True)
            record = read_sealed(store.record)
            record["commands"] = [{**record["commands"][0], "line": ODD, "version": ODD}]
            write_sealed(store.record, record)
        yield Path.cwd()


def is_plain(text: str) -> bool:
    return all(letter == "\n" or unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Co", "Cn") for letter in text)


@pytest.fixture(scope="module")
def reported(study: Path) -> str:
    """What `report` and `compare` printed. Both wrote to data/report."""
    written = [call("report"), call("compare", "data", "other", "--to", "data/report")]
    assert [code for code, *_ in written] == [0, 0]
    return "".join(text for _, *streams in written for text in streams)


def test_what_commands_print(reported: str) -> None:
    folder = f"data/runs/reach-v3/seed_0/magnitude-80-{IN_A_NAME}"
    printed = [reported]
    for command in (
        ["status"],
        ["status", "data"],
        ["verify"],
        ["report", f"data{ODD[:9]}"],
        ["play", folder],
        ["export", folder],
        ["check", f"{folder}/mask.pkl"],
    ):
        code, output, errors = call(*command)
        assert code in (0, 1, 2), command
        printed += [output, errors]
    assert all(map(is_plain, printed))
    assert r"\x1b[2J$\frac{$\u202e<b>" in printed[-2] and r"\x1b[2J" in reported


def test_the_files_of_the_report(reported: str) -> None:
    page, figures = Path("data/report/report.html").read_text(), list(Path("data/report/figures").glob("*.svg"))
    assert len(figures) >= 4
    for path in figures:
        assert is_plain(path.read_text()) and ET.parse(path).getroot().tag.endswith("svg")
        assert matplotlib.image.imread(path.with_suffix(".png")).shape[1] < 6_000
    for text in (page, Path("data/report/compare.html").read_text()):
        assert is_plain(text) and "<b>&" not in text and "&lt;b&gt;" in text
        for svg in re.findall(r"<svg\b.*?</svg>", text, re.S):
            ET.fromstring(re.sub(r"\b(?:aria-hidden|hidden)\b(?!=)", "", svg))
    assert "magnitude-80-\\x1b[2J$\\frac{$\\u202e&lt;b&gt;" in page and "<b>&" not in page
    for path in Path("data/report").rglob("*.csv"):
        for row in csv.reader(io.StringIO(path.read_text(), newline="")):
            assert not [cell for cell in row if cell[:1] in "=+@\t\r" and cell]
            assert not [cell for cell in row if cell[:1] == "-" and not re.fullmatch(r"-[\d.]+(e-?\d+)?", cell)]
    for path in Path("data/report").rglob("*.md"):
        assert is_plain(path.read_text()) and not re.search(r"(?<!\\)<b>", path.read_text())


def test_in_python(study: Path) -> None:
    found = rlottery.load_study("data")
    assert is_plain(repr(found)) and is_plain(html := found._repr_html_())
    assert "<b>&" not in html and "\\x1b" in html
    assert any(ODD[:2] in arm for arm in found.runs["arm"])  # frames have the names as they are


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ("=1+1", "'=1+1"),
        ("+1+1", "'+1+1"),
        ("-1+1", "'-1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", '"\'    =1"'),
        ("\r=1", r"\r=1"),
        ("\n=1", '"\'\n=1"'),
        ("'=1", "''=1"),
        ("＝1", "'＝1"),  # noqa: RUF001
        ('a;"=1+1"', '"a;""=1+1"""'),
        ("a,b", '"a,b"'),
        ("-1.5", "-1.5"),
        ("+3e-4", "+3e-4"),
        (-1.5, "-1.5"),
        (3, "3"),
        (True, "True"),
        (None, ""),
        (float("-inf"), "-inf"),
        ("a\x1b\udce9", r"a\x1b\xe9"),
        ("magnitude-80", "magnitude-80"),
    ],
)
def test_fields_of_csv(value: object, field: str) -> None:
    table = make_table("one", "", (Column("v", lambda item: Cell("", {"v": item})),), [value])
    assert to_csv(table) == f"v\n{field}\n"


def test_text_in_markdown_and_tables() -> None:
    assert escaped("a|b\n<i>&lt; $x$ \x1b") == r"a\|b \<i\>\&lt; \$x\$ \\x1b"
    table = make_table("one", "\x1b", (Column("\x00", lambda item: Cell(item)),), [ODD])
    assert is_plain(table_html(table))


def test_names_in_figures() -> None:
    assert drawn_name("magnitude-80") == "magnitude-80"
    assert drawn_name("é $x$ 漢\n\x1b") == r"é $x$ \u6f22 \x1b"
    assert len(drawn_name("n" * 10_000)) == 120 and "..." in drawn_name("n" * 10_000)
