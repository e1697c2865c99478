"""Digits follow what differs, and ordinary numbers keep their look."""

import itertools

import pytest

from rlottery.analysis.digits import MINUS, digits_for, number_formatter


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([-1234.4, -150.0, 3542.0], ["-1,234", "-150", "3,542"]),
        ([95.0, 60.0], ["95.0", "60.0"]),
        ([9.31, 0.5], ["9.31", "0.50"]),
        ([0.95, 0.4], ["0.95", "0.40"]),
        ([12345678.9, 12000000.0], ["12,345,679", "12,000,000"]),
        ([0.0, 0.0], ["0.00", "0.00"]),
        ([1000.0, 1000.0], ["1,000", "1,000"]),
        # Small returns, and small differences between large ones.
        ([0.00333, 0.0034, 0.002], ["0.00333", "0.00340", "0.00200"]),
        ([200.001, 200.002, 200.003], ["200.0010", "200.0020", "200.0030"]),
        ([1e9 + 1, 1e9 + 2.05], ["1,000,000,001", "1,000,000,002"]),
        # Neither 41 digits nor 170 zeros.
        ([1e40, 1.02e40, -9.3e39], ["1.00e+40", "1.02e+40", "-9.30e+39"]),
        ([1e40, 1.0001e40], ["1.00000e+40", "1.00010e+40"]),
        ([3.3e-170, 0.0], ["3.30e-170", "0"]),
        ([0.0, 5e-324], ["0", "4.94e-324"]),  # the smallest of all
        ([5e11, 1e11], ["5.00e+11", "1.00e+11"]),
    ],
)
def test_returns(values: list[float], shown: list[str]) -> None:
    assert [digits_for(values)(value).replace(MINUS, "-") for value in values] == shown


def test_success_rates_have_two_decimals_or_more() -> None:
    assert digits_for([1.0, 0.0], "success")(0.9) == "0.90"
    assert digits_for([0.033, 0.0], "success")(0.033) == "0.03"
    assert digits_for([0.991, 0.995], "success")(0.991) == "0.991"


def test_differences_of_large_numbers_are_visible() -> None:
    assert digits_for([1e9, 1e9], differences=[1.0, 0.0])(1.0) == "1"
    assert digits_for([1050.0, 1060.0], differences=[10.0])(-10.0) == f"{MINUS}10"
    assert digits_for([1e40, 3e40], differences=[2e40])(2e40) == "2.00e+40"


def test_a_number_of_another_size_is_not_written_in_full() -> None:
    assert digits_for([1.0, 2.0])(-1e40) == f"{MINUS}1.00e+40"


def test_numbers_apart_are_told_apart() -> None:
    """Whatever their size: up to the digits that a double has."""
    for power, apart in itertools.product((-200, -30, -3, 0, 2, 9, 40, 200), (1.0, 1e-3, 1e-9)):
        one, other = 10.0**power, 10.0**power * (1 + apart)
        for shown in (digits_for([one, other]), number_formatter([one, other])):
            assert shown(one) != shown(other) and len(shown(one)) < 25


def test_numbers_in_sentences_have_no_zeros_at_the_end() -> None:
    assert [number_formatter([1234.0, 0.0])(value) for value in (1234.0, 0.0)] == ["1,230", "0"]
    assert number_formatter([200.0, 200.013])(200.013) == "200.013"
    assert number_formatter([1e40])(1e40) == "1e+40"
