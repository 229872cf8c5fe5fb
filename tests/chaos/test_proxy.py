"""The proxy does what its plans say: otherwise the chaos tests would show nothing."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.chaos.proxy import ChaosProxy, Fault, Plan, any_fault, no_fault

PAYLOAD = bytes(range(256)) * 40


@pytest.fixture
def echo_port() -> Iterator[int]:
    """A server that answers each connection with what it gets."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def echo(taken: socket.socket) -> None:
        with taken, contextlib.suppress(OSError):
            while data := taken.recv(4096):
                taken.sendall(data)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                taken, _ = listener.accept()
                threads.append(threading.Thread(target=echo, args=(taken,)))
                threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for each in (accepting, *threads):
        each.join(10)


def answer(proxy: ChaosProxy) -> bytes:
    """Send the payload and an end; return what comes back until the end.

    Raises:
        ConnectionResetError: It ended in a reset.
    """
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as client:
        with contextlib.suppress(OSError):  # ended already
            client.sendall(PAYLOAD)
            client.shutdown(socket.SHUT_WR)
        answered = b""
        while data := client.recv(65536):
            answered += data
        return answered


@pytest.mark.parametrize("fault", [Fault.NOTHING, Fault.STALL, Fault.TRICKLE, Fault.DELAY])
@pytest.mark.parametrize("is_up", [True, False])
def test_harmless_faults_change_no_byte(echo_port: int, fault: Fault, is_up: bool) -> None:
    plan = Plan(fault, is_up, after_bytes=3000, seconds=0.01, trickle_bytes=500)
    with ChaosProxy(echo_port, planner=lambda _: plan) as proxy:
        assert answer(proxy) == PAYLOAD
        assert proxy.fired[fault] >= 1


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.HALF_CLOSE, Fault.BLACK_HOLE])
def test_faults_on_the_way_up_let_exactly_so_many_bytes_through(
    echo_port: int, fault: Fault
) -> None:
    with ChaosProxy(echo_port, planner=lambda _: Plan(fault, True, after_bytes=1000)) as proxy:
        answered = answer(proxy)
        assert answered == PAYLOAD[: len(answered)]
        assert len(answered) == 1000 or fault is Fault.CUT  # a cut also ends the way back
        assert proxy.fired == {fault: 1}


def test_a_reset_is_seen_as_one(echo_port: int) -> None:
    plan = Plan(Fault.RESET, is_up=False, after_bytes=1)
    with (
        ChaosProxy(echo_port, planner=lambda _: plan) as proxy,
        pytest.raises(ConnectionResetError),
    ):
        answer(proxy)


def test_a_refused_connection_ends_without_a_byte(echo_port: int) -> None:
    with ChaosProxy(echo_port, planner=lambda _: Plan(Fault.REFUSE)) as proxy:
        with contextlib.suppress(ConnectionResetError):
            assert answer(proxy) == b""
        assert proxy.fired == {Fault.REFUSE: 1}


def test_what_clients_sent_is_kept_on_request(echo_port: int) -> None:
    with ChaosProxy(echo_port, planner=no_fault, keeps_bytes=True) as proxy:
        answer(proxy)
        assert proxy.client_bytes == PAYLOAD


def test_one_seed_draws_one_sequence_of_plans_with_every_fault() -> None:
    def plans(seed: int) -> list[Plan]:
        chance = random.Random(seed)
        return [any_fault(chance) for _ in range(200)]

    assert plans(7) == plans(7)
    assert plans(7) != plans(8)
    assert {plan.fault for plan in plans(7)} == set(Fault)
