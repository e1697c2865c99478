import signal
from collections.abc import Iterator

import pytest

from rlottery.study.execution.stopping import SIGNALS, StopSignals


@pytest.fixture(autouse=True)
def _signals_are_not_ignored() -> Iterator[None]:
    """A shell's background jobs ignore SIGINT, and `StopSignals` then leaves it alone."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_first_signal_is_noted_and_the_second_of_another_kind_too() -> None:
    with StopSignals() as signals:
        assert not signals.wanted()
        signal.raise_signal(signal.SIGTERM)
        assert signals.wanted() and signals.number == signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_interrupts_while_there_is_nothing_to_save(number: signal.Signals) -> None:
    with StopSignals() as signals:
        with pytest.raises(KeyboardInterrupt) as interrupt, signals.at_once():
            signal.raise_signal(number)
        assert interrupt.value.args == (number,)
        signal.raise_signal(number)
        assert signals.number == number
