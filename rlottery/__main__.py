"""``python -m rlottery`` is the command `rlottery`. From its first moment a signal ends it as documented."""

import gc
import os

from rlottery.processes.stopping import own_process


def main() -> None:
    """The command `rlottery`. It ends with an exit code."""
    own_process()
    gc.set_threshold(100_000)  # imports make many objects that stay, and each collection looks at them
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # or it reads what each installed package is
    from rlottery.cli import main as command

    command()


if __name__ == "__main__":
    main()
