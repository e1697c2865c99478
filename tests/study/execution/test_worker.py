"""How a worker ends; what it does while it lives is tested through the pipeline."""

import subprocess
import sys

PRELUDE = """
import os, signal, time
from rlottery.study.execution import worker
worker.SAVE_SECONDS = {grace}
worker.AGAIN_SECONDS = 0.2
stop = worker.stop_at_sigterm()
"""


def ended(code: str, grace: float) -> subprocess.CompletedProcess[str]:
    prelude = PRELUDE.format(grace=grace)
    return subprocess.run([sys.executable, "-c", prelude + code], capture_output=True, text=True, timeout=300)


def test_a_worker_that_is_told_to_end_goes_on_until_it_has_saved() -> None:
    code = """
assert not stop.is_set()
os.kill(os.getpid(), signal.SIGTERM)
os.kill(os.getpid(), signal.SIGTERM)
print("told" if stop.is_set() else "deaf", "and saved")
"""
    result = ended(code, grace=60)
    assert (result.returncode, result.stdout, result.stderr) == (0, "told and saved\n", "")


def test_a_worker_that_cannot_save_in_time_cleans_up() -> None:
    code = """
try:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(600)
finally:
    print("cleaned up")
"""
    result = ended(code, grace=0.5)
    assert (result.returncode, result.stdout) == (4, "cleaned up\n")
    assert result.stderr == "Stopped between two checkpoints: the training episode took too long.\n"


def test_a_worker_ends_though_a_callback_swallowed_the_first_try() -> None:
    code = """
class Swallows:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.3)

Swallows()
time.sleep(600)
"""
    result = ended(code, grace=0.1)
    assert result.returncode == 4
    assert result.stderr.startswith("Stopped between two checkpoints") and "Exception ignored in" in result.stderr
