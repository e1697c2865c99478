"""The messages that the docs explain are those of the code."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))


def fragments() -> list[str]:
    """The fixed parts of the quoted messages; ``...`` stands for what differs."""
    paragraphs = re.findall(r'^(?:- )?\*\*(".+?)\*\*', "\n".join(page.read_text() for page in PAGES), flags=re.M)
    messages = [message for paragraph in paragraphs for message in re.findall(r'"([^"]+)"', paragraph)]
    assert len(messages) >= 50
    return [part.strip() for message in messages for part in message.split("...") if part.strip()]


def code() -> str:
    """All of the package's code, with strings joined that continue on the next line."""
    files = sorted((ROOT / "rlottery").rglob("*.py"))
    joined = re.sub(r'"\s*\n\s*f?"', "", "\n".join(file.read_text() for file in files))
    return joined.replace("{store.record.name}", "study.json")


def test_messages_are_quoted_as_they_are() -> None:
    everything = code()
    assert [part for part in fragments() if part not in everything] == []
