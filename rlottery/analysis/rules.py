"""The verdict's procedure in words, with the config's numbers in it: every report says by what rules it judges."""

from rlottery.config import Config


def rules_in_words(config: Config) -> tuple[str, ...]:
    """A paragraph a rule."""
    rules, last = config.verdict, config.evaluation.score_evaluations
    margin, level = f"{rules.margin:g}", f"{100 * rules.level:g} %"
    sided = f"{100 * (1 - 2 * rules.level):g} %"
    return (
        f"A run's score is the mean of its last {last} evaluations, {config.evaluation.episodes} episodes each, of the "
        "policy without noise. A run that diverged counts, as an untrained one.",
        "Arms share the initial weights of each seed, so differences are taken seed by seed, and told as shares of "
        "what the dense agents gained: (ticket - other) / (dense - untrained). Untrained is the mean over all seeds: a "
        "fixed zero of the scale.",
        f"The margin is {margin}: a ticket that falls short of dense by less counts as not worse. Each claim is a "
        f"one-sided paired t-test at {level}; a bound is where such a test would turn, so that two bounds make an "
        f"interval of {sided}. The margin's own uncertainty is part of the test (Fieller). Sign-flip permutation tests "
        "stand beside them and decide nothing.",
        f"winning: the lower bound of ticket - dense lies above -{margin}, and that of ticket - random control above "
        "0. The control has random masks with the ticket's count in every layer.",
        f"sparse, not special: the lower bound of ticket - dense lies above -{margin}, and ticket and random control "
        f"are shown to be within {margin} of one another (two one-sided tests).",
        f"losing: the upper bound of ticket - dense lies below -{margin}.",
        "Else undecided, with the number of further seeds that would decide one of the three with 80 % probability if "
        "the differences are what they seem now.",
        f"First of all: with fewer than {rules.least_seeds} seeds nothing is decided, nor where the dense agents did "
        f"not learn (sign flips of dense - untrained, one-sided at {level}; with fewer than 5 seeds a t-test).",
        f"Where every run of ticket and dense ends within {rules.saturated_within:g} of what dense gained below the "
        "task's best run, scores are tied at the ceiling, and the area under the learning curve is compared in their "
        "place.",
        "p-values of each claim are corrected by Holm's method over all tickets and tasks; over tasks, over all "
        "tickets. The pooled verdict is about the mean over tasks of a ticket's shares, tasks being fixed "
        "(Welch-Satterthwaite).",
        f"Other intervals are 95 % bootstraps over seeds, stratified by task, {rules.resamples:,} resamples, with a "
        "fixed seed.",
    )
