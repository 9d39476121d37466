"""A signal is heard once and obeyed at the end; the second one at once."""

import os
import signal

import pytest

from tvm_c4n.healing.interrupts import interrupts


@pytest.fixture(autouse=True)
def _interruptible():
    # A job of a script's background may have been started with interrupts ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_first_signal_waits_for_the_end():
    told = []
    with pytest.raises(KeyboardInterrupt), interrupts(lambda: told.append(1)) as caught:
        os.kill(os.getpid(), signal.SIGINT)
        told.append(2)
        assert caught == [signal.SIGINT]
    assert told == [1, 2]


def test_the_second_one_does_not():
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts(lambda: None):
        os.kill(os.getpid(), signal.SIGINT)
        done.append(1)
        os.kill(os.getpid(), signal.SIGINT)
        done.append(2)
    assert done == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
