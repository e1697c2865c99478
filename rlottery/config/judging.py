"""How runs that were made elsewhere are judged: the keys of a config that have a meaning for them."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from rlottery.config.contrasts import Contrast
from rlottery.config.fields import Count, Episodes, Section, at_most
from rlottery.config.loading import settings_from
from rlottery.config.models import Config
from rlottery.config.sections import EvaluationSettings, Verdict


class _Evaluation(Section):
    episodes: Episodes = Field(default=10, description="episodes per evaluation")
    score_evaluations: Count | None = Field(default=None, description="how many of the last evaluations make a score")


class Judging(Section):
    """The settings of `rlottery compare --csv`, with the defaults of a study's."""

    evaluation: _Evaluation = Field(default_factory=_Evaluation)
    verdict: Verdict = Field(default_factory=Verdict)
    contrasts: Annotated[tuple[Contrast, ...], at_most(1_000)] = ()

    def config(self, score_evaluations: int | None) -> Config:
        """A config with these settings.

        Args:
            score_evaluations: used where the command says nothing; None for a study's default.
        """
        evaluation = EvaluationSettings(episodes=self.evaluation.episodes)
        last = self.evaluation.score_evaluations or score_evaluations or evaluation.score_evaluations
        changed = {
            "verdict": self.verdict,
            "contrasts": self.contrasts,
            "evaluation": evaluation.model_copy(update={"score_evaluations": last}),
        }
        return Config.model_validate({"tasks": ["elsewhere"], "seeds": [0]}).model_copy(update=changed)


def judging_from(overrides: Sequence[str]) -> Judging:
    """The settings on a command line, as `key.path=value`. Raises ConfigError."""
    return settings_from(overrides, Judging)
