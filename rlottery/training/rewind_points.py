"""Agents that a dense run saves during training, for tickets that rewind to them."""

from collections.abc import Iterable
from typing import Any

from rlottery.agents.base import to_arrays
from rlottery.storage.disk import write_arrays
from rlottery.storage.manifests import FileEntry, file_entry
from rlottery.storage.paths import RunFiles


class RewindPoints:
    """Saves an agent at each of `steps`, and adds the manifest entry of each file to `entries`."""

    def __init__(self, files: RunFiles, steps: Iterable[int], entries: dict[str, FileEntry]):
        self._files, self._steps, self._entries = files, frozenset(steps), entries

    def due(self, step: int) -> bool:
        """Whether to save the agent at this step."""
        return step in self._steps

    def save(self, step: int, state: Any) -> None:
        """Write the agent, without masks."""
        path = self._files.rewind_point(step)
        write_arrays(path, to_arrays(state._replace(masks={})))
        self._entries[path.name] = file_entry(path)
