"""The reader of exported policies as docs/export.md has it."""

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "export.md"


def policy_of_the_page() -> Any:
    """The class of the page's Python block."""
    code = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S)
    (reader,) = (block.partition('policy = Policy("')[0] for block in code)
    assert set(re.findall(r"^\s*(?:import|from) (\w+)", reader, flags=re.M)) == {"json", "numpy"}
    names: dict[str, Any] = {}
    exec(reader, names)
    return names["Policy"]
