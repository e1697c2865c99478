"""The rules of the verdict in sentences, with the config's numbers: every report says how it judges."""

from rlottery.analysis.hypothesis_tests import fewest_for_sign_flips
from rlottery.config import Config, Verdict


def margin_text(rules: Verdict) -> str:
    """``0.10``, ``0.125``."""
    return f"{rules.margin:.2f}" if round(rules.margin, 2) == rules.margin else f"{rules.margin:g}"


def rules_as_sentences(config: Config) -> tuple[str, ...]:
    """One paragraph per rule."""
    rules, last, episodes = config.verdict, config.evaluation.score_evaluations, config.evaluation.episodes
    margin, level = margin_text(rules), f"{100 * rules.level:g} %"
    interval = f"{100 * (1 - 2 * rules.level):g} %"
    mean = "its last evaluation" if last == 1 else f"the mean of its last {last} evaluations"
    flips = fewest_for_sign_flips(rules.level)
    each = "of 1 episode" if episodes == 1 else f"of {episodes} episodes"
    return (
        f"The score of a run is {mean}, {each if last == 1 else f'each {each}'}, with the deterministic policy. A run "
        "that diverged counts, with the score of an untrained agent.",
        "Arms with the same seed start from the same initial weights, so they are compared seed by seed. Differences "
        "are on the scale of the normalised score, where 0 is untrained and 1 is dense: (ticket - other) / (dense - "
        "untrained). Untrained is the mean over all seeds, which fixes the zero of the scale.",
        f"The margin is {margin}: a ticket is non-inferior if it falls short of dense by less than that. Each claim is "
        f"tested with one-sided paired t-tests at {level}. A bound is the difference at which such a test would change "
        f"its result, so two bounds make a {interval} interval. The tests include the uncertainty of the dense agents' "
        "gain (Fieller). Sign-flip tests are reported as well, but decide nothing.",
        f"Winning: ticket - dense is shown to be above -{margin}, and ticket - random control above 0. The control has "
        "random masks that keep as many weights in every layer as the ticket's.",
        f"Matches dense, no better than random: ticket - dense is shown to be above -{margin}, and ticket and random "
        f"control are shown to be equivalent at a margin of {margin} (two one-sided tests, TOST).",
        f"Losing: ticket - dense is shown to be below -{margin}.",
        "Undecided: none of these is shown. The report then says how many more seeds would give 80 % power to show one "
        "of them, if the true differences are as estimated now.",
        f"Nothing is decided with fewer than {rules.least_seeds} seeds, nor where the dense agents did not learn (a "
        f"sign-flip test of dense - untrained, one-sided at {level}; with fewer than {flips} seeds a t-test).",
        f"Where every run of ticket and dense ends within {rules.saturated_within:g} of the gain below the best run of "
        "the task, scores are tied at the maximum, and the area under the learning curve is compared instead.",
        "Holm's correction of each claim is over all tickets and tasks, and for verdicts over tasks it is over all "
        "tickets. These pooled verdicts are about the mean over tasks of a ticket's normalised differences. They hold "
        "for these tasks, which are not treated as a sample of all tasks (Welch-Satterthwaite).",
        f"All other intervals are 95 % bootstrap intervals over seeds, stratified by task, with {rules.resamples:,} "
        "resamples and a fixed random seed.",
    )
