"""Links from the first use of each term on a page to the glossary, with its definition as a tooltip."""

import re

from rlottery.report.glossary import Term, first_uses

UNTOUCHED = re.compile(
    r"^(?P<fence>```+|~~~+)[^\n]*\n.*?^(?P=fence)[ ]*$"  # code
    r"|^:::.*?(?=^\S|\Z)"  # what mkdocstrings fills in
    r"|^#[^\n]*$"  # headings
    r"|^(?:[ ]{4}|\t)[^\n]*$"  # indented code, or the rest of a list's entry
    r"|`+[^`]+`+"
    r"|!?\[(?:[^\[\]]|\[[^\]]*\](?:\([^)]*\))?)*\](?:\([^)]*\))?(?:\{[^}\n]*\})?"  # links and images
    r"|<[^>\n]+>"
    r"|https?://\S+",
    re.M | re.S,
)
"""Parts of a Markdown text in which no term is linked."""

ONLY = {
    "dense agent": r"<dense agents?>|<dense>\W{0,3}(agents?|runs?|arms?)\b|<as good as dense>|"
    r"(against|good as|match|matches|than|mean\() ?<",
    "failed run": r"<failed runs?> (of|by) (that |the )?(task|ticket)|<fails more often>|\*<failures?>\*|table of <",
    "from the start": r"normalised .*<",
    "interval": r"(%|confidence|bootstrap|whole|their|no|'s) <|<90 % interval|> of the difference",
    "power": r"% <|<power analysis>|<more seeds>",
    "session": r"(each|every|earlier|later) <",
}
"""Terms that are everyday words as well -> what is around a use (<use>) that means the term."""
NEVER = {
    "allocation": r"(\d|each) <|> (does|ends|of nodes)\b|\b(slurm|job|node)\S* <",
    "control": r"> +(characters|groups|flow|plane|panel)|\b(deepmind|classic|version|remote|motor|position|torque) <|"
    r"(-level|beyond \S+) <",
    "normalised score": r"<normalised> (rewards?|observations?|inputs?|by)\b",
    "schedule": r"> of the learning rate|learning.rate <",
}
"""The same of terms whose other meanings can be listed -> what is around a use that means something else."""
_AROUND = 40


def with_terms(text: str, glossary: str) -> str:
    """A Markdown text with a link at the first use of each term.

    Args:
        text: the page.
        glossary: the path of the glossary from the page.
    """
    seen: set[str] = set()
    parts, end = [], 0
    for kept in UNTOUCHED.finditer(text):
        parts += [_linked(text[end : kept.start()], glossary, seen), kept.group()]
        end = kept.end()
    return "".join([*parts, _linked(text[end:], glossary, seen)])


def _linked(text: str, glossary: str, seen: set[str]) -> str:
    def is_meant(entry: Term, start: int, stop: int) -> bool:
        before, after = text[max(start - _AROUND, 0) : start], text[stop : stop + _AROUND]
        around = " ".join(f"{before}<{text[start:stop]}>{after}".lower().split())
        only, never = ONLY.get(entry.term), NEVER.get(entry.term)
        return (only is None or bool(re.search(only, around))) and (never is None or not re.search(never, around))

    parts, end = [], 0
    for start, stop, entry in first_uses(text, seen, is_meant):
        fragment = re.sub(r"[^\w\- ]", "", entry.term.lower()).replace(" ", "-")
        title = " ".join(entry.definition.split()).replace('"', "'").replace("|", "&#124;")
        link = f'[{text[start:stop]}]({glossary}#{fragment}){{ .term title="{title}" }}'
        parts += [text[end:start], link]
        end = stop
    return "".join([*parts, text[end:]])
