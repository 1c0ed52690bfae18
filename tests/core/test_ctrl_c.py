"""Ctrl-C is noted once, and obeyed the second time."""

from __future__ import annotations

import signal

import pytest

from modelwright.core.ctrl_c import first_press_noted

pytestmark = pytest.mark.usefixtures("at_a_terminal")


def test_the_first_press_is_noted_and_the_second_ends() -> None:
    with first_press_noted() as pressed:
        assert not pressed()
        signal.raise_signal(signal.SIGINT)
        assert pressed()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_afterwards_a_press_ends_as_ever() -> None:
    with first_press_noted():
        pass
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_program_keeps_its_own_handler() -> None:
    seen: list[int] = []

    def own(number: int, _frame: object) -> None:
        seen.append(number)

    signal.signal(signal.SIGINT, own)
    with first_press_noted() as pressed:
        signal.raise_signal(signal.SIGINT)
        assert seen and not pressed() and signal.getsignal(signal.SIGINT) is own
