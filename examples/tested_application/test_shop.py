"""Tests of the shop: `python -m pytest`."""

import subprocess
import sys

import pytest
import shop


def test_an_order_has_its_fields(logship_records):
    shop.place(7, ["tea", "cup"])
    (placed,) = logship_records
    assert placed.record["message"] == "order 7 placed"
    assert placed.record["items"] == ["tea", "cup"]


def test_an_empty_order_is_a_warning(logship_records):
    shop.place(8, [])
    assert [each.record["level"] for each in logship_records] == ["WARNING"]


def test_the_program_installs_logship_by_itself(logship_records, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["shop.py", "2"])
    shop.main()
    assert [each.tag for each in logship_records] == ["shop", "shop"]


@pytest.fixture
def start():
    """Start the program; end it with the test."""
    programs = []

    def start(orders):
        programs.append(subprocess.Popen([sys.executable, shop.__file__, str(orders)]))
        return programs[-1]

    yield start
    for program in programs:
        program.kill()
        program.wait()


def test_all_orders_have_arrived_when_the_program_has_ended(start, logship_sidecar):
    assert start(1000).wait() == 0
    orders = [each.record["order"] for each in logship_sidecar.records]
    assert orders == list(range(1, 1001))


def test_a_sidecar_that_comes_late_gets_everything(start, logship_sidecar):
    logship_sidecar.reachable = False
    program = start(3)
    logship_sidecar.reachable = True
    logship_sidecar.wait_for(3)
    assert program.wait() == 0


def test_chunks_without_an_ack_are_sent_again(start, logship_sidecar):
    logship_sidecar.acks = False
    program = start(3)
    logship_sidecar.wait_for(3)
    logship_sidecar.acks = True
    logship_sidecar.hang_up()
    assert program.wait() == 0
    stamps = [each.record["logship_id"] for each in logship_sidecar.records]
    assert len(stamps) == 6
    assert len(set(stamps)) == 3
