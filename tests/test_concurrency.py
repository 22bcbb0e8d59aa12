"""Several tasks at once: the first failure ends them all and is the one that is told."""

import contextlib
import gc
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from ocitool.concurrency import Stop, Stopped, prefetched, run_all


class Failed(Exception):
    """What a task fails with."""


def failing(text: str) -> Callable[[Stop], None]:
    def run(stop: Stop) -> None:
        raise Failed(text)

    return run


def test_every_task_is_run() -> None:
    done: list[int] = []

    def task(number: int) -> Callable[[Stop], None]:
        return lambda stop: done.append(number)

    run_all([task(number) for number in range(50)], 4)
    assert sorted(done) == list(range(50))


def test_no_tasks_are_done_at_once() -> None:
    run_all([], 4)


@pytest.mark.parametrize("jobs", [1, 3])
def test_no_more_than_the_given_number_run_at_once(jobs: int) -> None:
    lock = threading.Lock()
    running, most = 0, 0

    def task(stop: Stop) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    run_all([task] * 12, jobs)
    assert most == jobs


@pytest.mark.parametrize("jobs", [0, -1])
def test_fewer_than_one_job_is_one(jobs: int) -> None:
    done: list[int] = []
    run_all([lambda stop: done.append(1)] * 3, jobs)
    assert len(done) == 3


@pytest.mark.parametrize("others", [0, 5])
def test_a_failure_comes_out_as_it_was(others: int) -> None:
    with pytest.raises(Failed, match=r"^broken$"):
        run_all([failing("broken"), *[lambda stop: None] * others], 4)


def test_tasks_that_run_are_stopped_by_a_failure_of_another() -> None:
    started = threading.Event()
    stopped = threading.Event()

    def endless(stop: Stop) -> None:
        started.set()
        try:
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                stop.check()
                time.sleep(0.001)
        except Stopped:
            stopped.set()
            raise

    def fails_later(stop: Stop) -> None:
        started.wait(10)
        raise Failed("broken")

    with pytest.raises(Failed, match="broken"):
        run_all([endless, fails_later], 2)
    assert stopped.is_set()


def test_tasks_that_wait_are_not_begun_after_a_failure() -> None:
    begun: list[int] = []

    def slow(stop: Stop) -> None:
        begun.append(1)
        for _ in range(200):
            stop.check()
            time.sleep(0.01)

    with pytest.raises(Failed):
        run_all([failing("broken"), *[slow] * 50], 2)
    assert len(begun) < 5


def test_all_tasks_have_ended_when_a_failure_comes_out() -> None:
    ended = threading.Event()
    started = threading.Event()

    def deaf(stop: Stop) -> None:
        started.set()
        time.sleep(0.2)
        ended.set()

    def fails_later(stop: Stop) -> None:
        started.wait(10)
        raise Failed

    with pytest.raises(Failed):
        run_all([deaf, fails_later], 2)
    assert ended.is_set()


def test_an_interrupt_stops_the_tasks() -> None:
    stopped = threading.Event()

    def endless(stop: Stop) -> None:
        try:
            for _ in range(2000):
                stop.check()
                time.sleep(0.01)
        except Stopped:
            stopped.set()
            raise

    with interrupted_after(0.2):
        run_all([endless, endless], 2)
    assert stopped.is_set()


@contextlib.contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Interrupt the block as Ctrl-C does, and expect that it ends by that."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_an_interrupt_breaks_what_still_waits_after_a_failure() -> None:
    broken = threading.Event()
    started = threading.Event()

    def deaf(stop: Stop) -> None:
        started.set()
        broken.wait(20)

    def fails_later(stop: Stop) -> None:
        started.wait(10)
        raise Failed

    began = time.monotonic()
    with interrupted_after(0.3):
        run_all([deaf, fails_later], 2, abort=broken.set)
    assert broken.is_set()
    assert time.monotonic() - began < 5


def test_an_interrupt_while_tasks_are_handed_out_breaks_those_that_run() -> None:
    broken = threading.Event()
    interrupted = threading.Event()

    def deaf(stop: Stop) -> None:
        # Of so many tasks the main thread is still handing out some.
        if not interrupted.is_set():
            interrupted.set()
            signal.raise_signal(signal.SIGALRM)
        broken.wait(20)

    began = time.monotonic()
    with interrupted_after(10):
        run_all([deaf] * 500, 500, abort=broken.set)
    assert time.monotonic() - began < 5


def test_a_single_task_runs_where_it_is_called() -> None:
    threads: list[int] = []
    run_all([lambda stop: threads.append(threading.get_ident())], 4)
    assert threads == [threading.get_ident()]


def test_a_stop_is_heard_only_after_it_was_set() -> None:
    stop = Stop()
    stop.check()
    stop.set()
    with pytest.raises(Stopped):
        stop.check()


class TestPrefetched:
    def test_the_pieces_come_in_order(self) -> None:
        pieces = [bytes([number]) for number in range(100)]
        assert list(prefetched(iter(pieces), 3)) == pieces

    def test_it_stays_only_a_few_pieces_ahead(self) -> None:
        taken = []

        def pieces() -> Iterator[bytes]:
            for number in range(100):
                taken.append(number)
                yield b"x"

        found = prefetched(pieces(), 3)
        next(found)
        time.sleep(0.05)
        assert len(taken) <= 6
        found.close()  # type: ignore[attr-defined]

    def test_an_error_comes_after_what_was_before_it(self) -> None:
        def pieces() -> Iterator[bytes]:
            yield b"a"
            raise ValueError("wrong")

        found = prefetched(pieces())
        assert next(found) == b"a"
        with pytest.raises(ValueError, match="wrong"):
            next(found)

    def test_who_stops_early_closes_the_iterator(self) -> None:
        closed = []

        def pieces() -> Iterator[bytes]:
            try:
                while True:
                    yield b"x"
            finally:
                closed.append(threading.current_thread())

        for _ in prefetched(pieces()):
            break
        gc.collect()
        assert len(closed) == 1
        assert closed[0] is not threading.current_thread()
