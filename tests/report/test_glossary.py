"""The glossary, from which the page and docs/glossary.md take their definitions."""

import re

from rlottery.report.glossary import glossary


def test_terms_are_distinct_and_defined_in_one_or_two_sentences():
    forms = [form.lower() for entry in glossary() for form in (entry.term, *entry.also)]
    assert len(forms) == len(set(forms)) and len(glossary()) >= 30
    for entry in glossary():
        sentences = re.findall(r"[.](?= |$)", entry.definition)
        assert entry.definition.endswith(".") and 1 <= len(sentences) <= 2, entry.term
