"""The report of a study: written at the end of every run, or when it is asked for; and that of several."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console

from rlottery.config import Config
from rlottery.errors import StudyError
from rlottery.report.contents import Contents
from rlottery.report.films import films_of
from rlottery.report.gather import gather
from rlottery.report.table import render
from rlottery.store import Store


def report_study(config: Config, console: Console) -> None:
    """Show the closing table of what the store holds, and write the report.

    Raises:
        StudyError: the report can't be written.
    """
    store = Store(config.data)
    store.check_links()
    store.check_writable()
    contents = gather(store, config)
    console.print(render(contents))
    console.print()
    publish(store, config, contents, _sayer(console))


def publish(store: Store, config: Config, contents: Contents, say: Callable[[str], None]) -> None:
    """Write a report's files, and say where they are.

    Raises:
        StudyError: they can't be written.
    """
    from rlottery.report.files import write_report  # matplotlib takes a second, which --help need not wait for

    try:
        films, why_not = films_of(store, config, contents)
        shown = replace(contents, films=films, missing=(*contents.missing, *why_not))
        written = write_report(store, config, shown)
    except OSError as error:
        raise StudyError(f"The report can't be written: {error}. Mend that, and run the same command again.") from None
    say(f"Figures and tables: {store.report}")
    for path in written:
        say(f"  {path}")


def compare_studies(configs: Sequence[Config], to: Path, console: Console) -> None:
    """Write a page about several studies, and show its table.

    Raises:
        StudyError: fewer than two studies, the same one twice, or nothing that they share.
    """
    from rlottery.report.beside import beside, render_beside, write_beside

    folders = [config.data.resolve() for config in configs]
    if len(configs) < 2:
        raise StudyError("To compare takes two studies or more: rlottery compare STUDY_A STUDY_B")
    if len(set(folders)) < len(folders):
        raise StudyError(f"{configs[0].data} is given twice; a study is no comparison of itself.")
    together = beside([gather(Store(config.data), config) for config in configs])
    console.print(render_beside(together))
    for path in write_beside(together, to):
        _sayer(console)(f"  {path}")


def _sayer(console: Console) -> Callable[[str], None]:
    """Paths and messages as they are: not wrapped, nothing in brackets taken for a style."""
    return partial(console.print, markup=False, highlight=False, soft_wrap=True)
