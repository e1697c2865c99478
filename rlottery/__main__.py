"""``python -m rlottery`` is the command `rlottery`."""

from rlottery.cli import main

if __name__ == "__main__":
    main()
