import linecache

import pytest

from rlottery.errors import ConfigError, closest, error_text, typed_text


def raised(source: str) -> BaseException:
    """The error that this code raises, as if it were the file task.py."""
    linecache.cache["task.py"] = (len(source), None, source.splitlines(keepends=True), "task.py")
    try:
        exec(compile(source, "task.py", "exec"), {})
    except BaseException as error:
        return error
    raise AssertionError("no error")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("links = 3\nassert links in (2, 4)\n", "AssertionError in task.py, line 2: assert links in (2, 4)"),
        ("def f():\n    raise ValueError\nf()\n", "ValueError in task.py, line 2: raise ValueError"),
        ("raise ValueError(' ')\n", "ValueError in task.py, line 1: raise ValueError(' ')"),
        ("raise KeyboardInterrupt\n", "KeyboardInterrupt in task.py, line 1: raise KeyboardInterrupt"),
        ("assert 1 > 2, 'links'\n", "AssertionError: links"),
        ("{}[0]\n", "KeyError: 0"),
    ],
)
def test_an_error_without_a_message_names_its_line(source: str, text: str) -> None:
    assert typed_text(raised(source)) == text


def test_an_error_that_was_never_raised_has_its_type() -> None:
    assert typed_text(ValueError()) == "ValueError"
    assert error_text(ValueError()) == "ValueError"
    assert error_text(ConfigError("the key")) == "the key"


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("Foo1", ["Foo", "foo"], "Foo"),
        ("foo1", ["foo", "Foo"], "foo"),
        ("FOO", ["foo", "Foo"], "Foo"),
        ("Random-ERK", ["random", "random-erk"], "random-erk"),
        ("foo", ["foo", "Foo"], "Foo"),
        ("foo", ["foo"], None),
    ],
)
def test_of_names_that_differ_in_case_the_one_that_looks_most_alike_is_meant(
    name: str, known: list[str], meant: str | None
) -> None:
    assert closest(name, known) == meant
