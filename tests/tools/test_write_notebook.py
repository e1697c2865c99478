import json
import re

from tests.code_blocks import blocks
from tools.write_notebook import NOTEBOOK, PAGE, notebook


def cells(kind: str) -> list[str]:
    content = json.loads(NOTEBOOK.read_text())
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in content["cells"]}) == len(content["cells"])
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == kind]


def test_the_notebook_is_what_the_script_writes() -> None:
    assert NOTEBOOK.read_text() == notebook(PAGE.read_text()), "run: uv run python tools/write_notebook.py"


def test_its_code_is_that_of_the_page_which_test_tutorials_runs() -> None:
    typed = [re.sub(r"^[!%]", "", cell.replace(" --quiet", ""), flags=re.M) for cell in cells("code")]
    assert typed == [code.strip() for _, code in blocks(PAGE)]


def test_it_begins_with_the_installation_and_needs_no_other_file() -> None:
    assert cells("code")[0] == "%pip install --quiet rlottery"
    assert not [cell for cell in cells("markdown") if re.search(r"\]\((?!https?:)", cell)]


def test_files_of_a_page_are_written_by_cells() -> None:
    page = "# Title\n\n```python\n# my.py\nx = 1\n```\n\nSee [it](it.md).\n\n```bash\ncd a\nrlottery run\n```\n"
    code = [cell for cell in json.loads(notebook(page))["cells"] if cell["cell_type"] == "code"]
    assert ["".join(cell["source"]) for cell in code] == ["%%writefile my.py\n# my.py\nx = 1", "%cd a\n!rlottery run"]
