"""Find lottery tickets in reinforcement-learning agents.

`main` runs a study, `load_study` reads one as pandas frames, and `load_agent` gives a trained policy, which
`save_policy` writes to a file:

    >>> import rlottery
    >>> outcome = rlottery.main(config="config.yaml")  # doctest: +SKIP
    >>> study = rlottery.load_study("data")  # doctest: +SKIP
    >>> policy = rlottery.load_agent("data/runs/Pendulum-v1/seed_0/dense")  # doctest: +SKIP

`import_agent` brings an agent of another library into a study. `prune` makes a mask for anybody's arrays, without a
study, and `load_mask` reads one:

    >>> mask = rlottery.prune(weights, "magnitude", sparsity=0.9)  # doctest: +SKIP

Input that the caller can fix raises `RlotteryError`.
"""

import rlottery.safety.search_path  # noqa: F401 # isort: skip: before anything that the current folder could hide
from rlottery.version import __version__

TYPE_CHECKING = False  # as in `typing`, which takes long to import: a command handles signals first of all
if TYPE_CHECKING:
    from typing import Any

    from rlottery.errors import RlotteryError
    from rlottery.export.export import Export, save_policy
    from rlottery.export.policy import Policy, load_agent
    from rlottery.pipeline import main
    from rlottery.pruning.as_function import prune
    from rlottery.pruning.parameter_mask import ParameterMask, load_mask
    from rlottery.report.notebook import Study, load_study
    from rlottery.study.importing import ImportedAgent, import_agent
    from rlottery.study.run import Outcome

__all__ = [
    "Export",
    "ImportedAgent",
    "Outcome",
    "ParameterMask",
    "Policy",
    "RlotteryError",
    "Study",
    "__version__",
    "import_agent",
    "load_agent",
    "load_mask",
    "load_study",
    "main",
    "prune",
    "save_policy",
]

_MODULES = {
    "Export": "rlottery.export.export",
    "ImportedAgent": "rlottery.study.importing",
    "Outcome": "rlottery.study.run",
    "ParameterMask": "rlottery.pruning.parameter_mask",
    "Policy": "rlottery.export.policy",
    "RlotteryError": "rlottery.errors",
    "Study": "rlottery.report.notebook",
    "import_agent": "rlottery.study.importing",
    "load_agent": "rlottery.export.policy",
    "load_mask": "rlottery.pruning.parameter_mask",
    "load_study": "rlottery.report.notebook",
    "main": "rlottery.pipeline",
    "prune": "rlottery.pruning.as_function",
    "save_policy": "rlottery.export.export",
}
"""The module of each public name. It is imported on first use, so that the command line need not import pandas."""


def __getattr__(name: str) -> "Any":
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(globals() | _MODULES)
