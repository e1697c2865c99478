"""`rlottery.prune` on real PyTorch, in an environment of its own, and the examples of docs/functions.md for it."""

from pathlib import Path

from tests.peer_environments import CHECKOUT, run_peer


def test_masks_of_pytorch_modules_are_those_of_pytorch(sb3_python: Path) -> None:
    told = run_peer(sb3_python, "prune_torch.py", CHECKOUT, CHECKOUT / "docs" / "functions.md")
    assert "agrees with PyTorch" in told
