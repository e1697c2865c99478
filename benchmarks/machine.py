"""The processor that results are measured on."""

import platform
import subprocess

from rlottery.study.versions import processor_fields


def processor_name() -> str:
    """The processor's name, with family and model where the system tells them: clouds use one name for several."""
    if platform.system() == "Darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    found = processor_fields()
    name = found.get("model name") or platform.processor() or platform.machine()
    known = "cpu family" in found and "model" in found
    return f"{name} (family {found['cpu family']}, model {found['model']})" if known else name
