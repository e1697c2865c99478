"""A program of somebody who installed rlottery. mypy must know the types, and refuse each line with an `ignore`."""

from pathlib import Path
from typing import assert_type

import numpy as np

import rlottery

study = rlottery.load_study(Path("data"))
assert_type(study, rlottery.Study)
assert_type(rlottery.load_agent("data/runs/Pendulum-v1/seed_0/dense"), rlottery.Policy)
assert_type(rlottery.main(config="config.yaml"), rlottery.Outcome)
assert_type(rlottery.prune({"a": np.ones((2, 2))}, "magnitude", sparsity=0.5), rlottery.ParameterMask)
assert_type(rlottery.__version__, str)

rlottery.load_study(1)  # type: ignore[arg-type]
rlottery.main(nothing="config.yaml")  # type: ignore[call-arg]
study.no_such_frame  # type: ignore[attr-defined]  # noqa: B018
