"""The glossary, from which the page and docs/glossary.md take their definitions."""

import re
from html import escape
from pathlib import Path

from rlottery.report.glossary import glossary, term_id, with_terms
from rlottery.report.page import report_html
from tests.report.contents import empty


def test_terms_are_distinct_and_defined_in_one_or_two_sentences():
    forms = [form.lower() for entry in glossary() for form in (entry.term, *entry.also, *entry.forms)]
    assert len(forms) == len(set(forms)) and len(glossary()) >= 30
    for entry in glossary():
        sentences = re.findall(r"[.](?= |$)", entry.definition)
        assert entry.definition.endswith(".") and 1 <= len(sentences) <= 2, entry.term


def test_the_page_has_the_definitions_of_the_docs():
    """docs/glossary.md is made from the same file (tests/tools/test_write_glossary.py)."""
    page = report_html(empty())
    docs = " ".join(Path("docs/glossary.md").read_text().split())
    for entry in glossary():
        assert f'<dd id="{term_id(entry.term)}">{escape(entry.definition).replace("&#x27;", "&#39;")}</dd>' in page
        assert f"## {entry.term} " in docs and entry.definition in docs


def test_the_first_occurrence_of_a_term_links_to_its_definition():
    assert with_terms("Tickets & masks; a ticket. small-dense-95 & co") == (
        '<a class="term" href="#term-ticket" data-term="term-ticket">Tickets</a> &amp; '
        '<a class="term" href="#term-mask" data-term="term-mask">masks</a>; a ticket. small-dense-95 &amp; co'
    )


def test_everyday_words_are_not_marked():
    assert with_terms("every run of a task, <b>in seconds</b>") == "every run of a task, &lt;b&gt;in seconds&lt;/b&gt;"


def test_numbers_and_p_values_stay_on_one_line():
    shown = with_terms("a 90 % interval, Holm-corrected p < 0.001, over 2 seeds").replace("\N{NO-BREAK SPACE}", "_")
    assert ">90_% interval</a>" in shown and "p_&lt;_0.001" in shown and shown.endswith("over 2_seeds")
