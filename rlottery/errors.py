"""The one family of errors that rlottery raises for the person who runs it."""


class RlotteryError(Exception):
    """Something that the user can mend. The message says what was wrong, where, and what mends it.

    The command line prints the message alone, without a traceback, and exits with code 2.
    """


class ConfigError(RlotteryError):
    """A configuration that can't be run: names the key, the file and the line."""


class MaskError(RlotteryError):
    """A mask that can't be made, read or applied."""


class StudyError(RlotteryError):
    """Files of the study that are missing, or that another configuration made."""


class TaskError(RlotteryError):
    """A task that can't be made or that this project can't learn."""


class DivergedError(RlotteryError):
    """A loss or a weight became NaN or infinite during training."""
