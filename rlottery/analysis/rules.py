"""The rules of the verdict in sentences, with the config's numbers: every report says how it judges."""

from rlottery.analysis.failures import FAILED_BELOW
from rlottery.config import Config, Verdict


def margin_text(rules: Verdict) -> str:
    """``0.10``, ``0.125``."""
    return f"{rules.margin:.2f}" if round(rules.margin, 2) == rules.margin else f"{rules.margin:g}"


def rules_as_sentences(config: Config, scored: str | None = None) -> tuple[str, ...]:
    """One paragraph per rule.

    Args:
        scored: what the score of a run is, in a sentence, if it isn't that of a study.
    """
    rules, last, episodes = config.verdict, config.evaluation.score_evaluations, config.evaluation.episodes
    margin, level = margin_text(rules), f"{100 * rules.level:g} %"
    interval = f"{100 * (1 - 2 * rules.level):g} %"
    mean = "its last evaluation" if last == 1 else f"the mean of its last {last} evaluations"
    each = "of 1 episode" if episodes == 1 else f"of {episodes} episodes"
    return (
        scored
        or f"The score of a run is {mean}, {each if last == 1 else f'each {each}'}, with the deterministic policy. A "
        "run that diverged counts, with the score of an untrained agent.",
        "Differences are on the scale of the normalised score, where 0 is untrained and 1 is dense: (ticket - "
        "other) / (dense - untrained). Untrained is the mean over all untrained policies. Runs of different arms "
        "are independent samples, also with the same seed.",
        f"Two questions are asked of each ticket. The margin is {margin}. Each claim is tested with one-sided "
        f"Welch tests at {level}. A bound is the difference at which such a test would change its result, so two "
        f"bounds make a {interval} interval. The tests include the uncertainty of the dense agents' gain.",
        f"Against dense: non-inferior if ticket - dense is shown to be above -{margin}, superior if it is also "
        f"shown to be above 0, worse if it is shown to be below -{margin}, else open.",
        "Against random, a control with random masks that keep as many weights in every layer as the ticket's: "
        "better if ticket - control is shown to be above 0, worse if it is shown to be below 0, equivalent if the "
        f"two are shown to differ by less than {margin} (two one-sided tests, TOST), else open.",
        "A ticket wins if it is non-inferior or superior to dense, and better than random.",
        "For an open answer, the report says how many more seeds would give 80 % power, if the true differences are as "
        "estimated now.",
        f"No question is answered with fewer than {rules.least_seeds} seeds of the arms that it compares. Where "
        "the dense agents can't be shown to have learned (a rank-sum test of scores after and before training, "
        f"one-sided at {level}), "
        "tickets are compared with random masks alone, without a margin.",
        f"Where every run of the two arms ends within {rules.saturated_within:g} of the gain below the best run of "
        "the task (or within one episode of a success rate), scores are tied at the maximum, and the area under the "
        "learning curve is compared instead.",
        "Holm's correction of each claim is over all tickets and tasks of which the question is asked, and for "
        "verdicts over tasks it is over all tickets. These pooled verdicts are about the mean over tasks of a "
        "ticket's normalised differences. They hold for these tasks, which are not treated as a sample of all "
        "tasks.",
        f"A run failed if its normalised score is below {FAILED_BELOW}. Failures are counted next to the means, "
        f"with an exact upper bound of the ticket's failure rate at {level} (Clopper and Pearson) and Fisher's "
        "exact test.",
        f"All other intervals are 95 % bootstrap intervals over seeds, stratified by task, with {rules.resamples:,} "
        "resamples and a fixed random seed.",
    )
