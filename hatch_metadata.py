"""Hatchling's hook for the metadata: the repository's addresses, and a README whose links work anywhere.

The repository's address is the variable RLOTTERY_REPOSITORY, such as `https://example.org/OWNER/rlottery`, which the
release workflow sets; the source archive keeps what it led to. Without it, links stay relative and there are no URLs.
"""

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

VARIABLE = "RLOTTERY_REPOSITORY"
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s]+)(?=\))")
"""The target of a Markdown link that is a path in the repository."""
PICTURES = (".png", ".gif", ".svg", ".jpg")


class AddressesHook(MetadataHookInterface):
    """Sets `readme`, and `urls` if the repository's address is known."""

    def update(self, metadata: dict[str, Any]) -> None:
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["urls"] = {}
        if repository := os.environ.get(VARIABLE, "").rstrip("/"):
            if not re.fullmatch(r"https://[\w.-]+(/[\w.-]+){2,}", repository):
                raise ValueError(
                    f"{VARIABLE}={repository}: give an address such as https://example.org/OWNER/rlottery."
                )
            tag = f"v{metadata['version']}"
            metadata["urls"] = {
                "Source": repository,
                "Documentation": f"{repository}/tree/{tag}/docs",
                "Changelog": f"{repository}/blob/{tag}/CHANGELOG.md",
                "Issues": f"{repository}/issues",
            }
            text = absolute_links(text, repository, tag)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def absolute_links(text: str, repository: str, tag: str) -> str:
    """Markdown whose links to files lead to a tag of the repository: to a picture itself, or to the page of a file."""

    def absolute(found: re.Match[str]) -> str:
        kind = "raw" if found[1].endswith(PICTURES) else "blob"
        return f"{repository}/{kind}/{tag}/{found[1]}"

    return LINK.sub(absolute, text)
