"""``python -m rlottery`` is the command `rlottery`."""

from rlottery.cli import app

if __name__ == "__main__":
    app(prog_name="rlottery")
