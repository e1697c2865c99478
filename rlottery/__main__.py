"""``python -m rlottery`` is the command `rlottery`. From its first moment a signal ends it as documented."""

from rlottery.processes.stopping import own_process


def main() -> None:
    """The command `rlottery`. It ends with an exit code."""
    own_process()
    from rlottery.cli import main as command

    command()


if __name__ == "__main__":
    main()
