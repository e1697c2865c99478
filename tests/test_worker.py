"""How a worker ends; what it does while it lives is tested through the pipeline."""

import subprocess
import sys

PRELUDE = """
import os, signal, time
from rlottery.worker import end_when_told
end_when_told()
"""


def ended(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", PRELUDE + code], capture_output=True, text=True, timeout=300)


def test_a_worker_that_is_told_to_end_cleans_up() -> None:
    code = """
try:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(600)
finally:
    print("cleaned up")
"""
    result = ended(code)
    assert (result.returncode, result.stdout, result.stderr) == (1, "cleaned up\n", "Told to end.\n")


def test_a_worker_ends_though_a_callback_swallowed_the_first_try() -> None:
    code = """
class Swallows:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)

Swallows()
time.sleep(600)
"""
    result = ended(code)
    assert result.returncode == 1
    assert result.stderr.startswith("Exception ignored in") and result.stderr.endswith("Told to end.\n")
