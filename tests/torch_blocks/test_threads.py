"""Work is shared between threads; torch is single-threaded inside and as before outside."""

import os
import signal
import threading
import time

import pytest
import torch

from tvm_c4n.torch_blocks.threads import map_in_threads


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order_from_single_threaded_calls(four_threads):
    seen = set()

    def work(item):
        time.sleep(0.01 * (8 - item))  # the first ones end last
        seen.add(threading.get_ident())
        return item, torch.get_num_threads()

    assert map_in_threads(work, range(8)) == [(item, 1) for item in range(8)]
    assert 1 < len(seen) <= 4
    assert torch.get_num_threads() == 4


def test_an_error_of_an_item_is_raised_and_the_threads_come_back(four_threads):
    with pytest.raises(ZeroDivisionError):
        map_in_threads(lambda item: 1 // item, [1, 0])
    assert torch.get_num_threads() == 4


def test_an_item_may_share_work_again(four_threads):
    """Inside an item there is one thread, which would wait for itself."""
    assert map_in_threads(lambda n: map_in_threads(abs, [-n, n]), range(9)) == [
        [n, n] for n in range(9)
    ]


def test_a_fork_has_threads_of_its_own(four_threads):
    assert map_in_threads(abs, [-1, 2]) == [1, 2]
    child = os.fork()
    if child == 0:  # no test code may run on in the copy
        os._exit(0 if map_in_threads(abs, [-1, 2]) == [1, 2] else 1)
    deadline = time.monotonic() + 60
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    if ended == (0, 0):
        os.kill(child, signal.SIGKILL)
        ended = os.waitpid(child, 0)
    assert ended == (child, 0)
