"""A program that closes all descriptors, as daemons do, and one that has very many of them."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from logship._metrics.outlet import Outlet
from logship._metrics.process import Process
from logship._metrics.prometheus import CountsCollector, Endpoint
from logship._process.self_pipe import SelfPipe
from logship._receiver.server import Counts
from logship._settings import Settings
from logship._spool.storage import RETRY_SECONDS
from logship._stderr.last_resort import LastResort
from logship.testing import ManualClock
from tests.spool.recoveries import recover
from tests.spool.spools import offer, spooled
from tests.support.commands import ran_python
from tests.support.receiver_process import ReceiverProcess

CONTENT = b"the application's own" * 1000
HIGH = 1500
"""A descriptor that `select` refuses."""


@pytest.fixture
def file_of_the_application(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "data"
    path.write_bytes(CONTENT)
    descriptor = os.open(path, os.O_RDWR)
    yield descriptor
    assert path.read_bytes() == CONTENT
    os.close(descriptor)


def descriptors_below(directory: Path) -> list[int]:
    """Return the descriptors of files of a directory, and of itself."""
    found = []
    for each in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208 - numbers
        path = f"/proc/self/fd/{each}"
        if os.path.exists(path) and str(Path(path).readlink()).startswith(str(directory)):  # noqa: PTH110
            found.append(each)
    return found


def replace(descriptors: list[int], by: int) -> None:
    """Close descriptors, and have their numbers stand for another file."""
    for each in descriptors:
        os.dup2(by, each)


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_a_metrics_page_is_not_written_into_another_file(
    tmp_path: Path, file_of_the_application: int
) -> None:
    pages = tmp_path / "pages"
    pages.mkdir(mode=0o700)
    process, settings = Process(), Settings(metrics_dir=str(pages))
    outlet = Outlet(process.page, process.total, settings, LastResort())
    assert outlet.refreshed() is not None
    taken = descriptors_below(pages)
    assert taken
    replace(taken, file_of_the_application)
    outlet.refreshed()
    outlet.end()
    assert all(map(is_open, taken)), "they are the application's now"
    for each in taken:
        os.close(each)


def test_a_forked_child_does_not_close_another_file_in_place_of_the_endpoint(
    file_of_the_application: int,
) -> None:
    endpoint = Endpoint("127.0.0.1", 0, CountsCollector(Counts()))
    taken = endpoint.fileno()
    replace([taken], file_of_the_application)
    endpoint.close_in_child()
    endpoint.shutdown()
    assert is_open(taken), "it is the application's now"
    os.close(taken)


@pytest.mark.parametrize("is_looked_at_in_time", [False, True])
@pytest.mark.parametrize("is_replaced", [False, True])
def test_no_number_is_given_out_beside_the_recoverer_of_a_closed_lock(
    is_replaced: bool, is_looked_at_in_time: bool, tmp_path: Path, file_of_the_application: int
) -> None:
    """It ends the streams, and their next number is taken then.

    The shipper looks at the lock from time to time. Before that, the next record may come.
    """
    spool, clock = tmp_path / "spool", ManualClock()
    storage, buffer = spooled(spool, monotonic=clock)
    assert offer(buffer, "before")
    buffer.note("sampled", 1, "tag")
    buffer.seal_all()
    (lock,) = (
        each
        for each in descriptors_below(spool)
        if Path(f"/proc/self/fd/{each}").readlink().name == "lock"
    )
    if is_replaced:
        os.dup2(file_of_the_application, lock)
    else:
        os.close(lock)
    if is_looked_at_in_time:
        clock.advance(RETRY_SECONDS + 1)
        storage.maintain(buffer.exclusively)
    recovered = recover(spool)
    assert recovered.markers == ["before"]
    assert offer(buffer, "later")
    storage.maintain(buffer.exclusively)
    for number in range(2):
        assert offer(buffer, f"later{number}")
    buffer.close_intake()
    (end,) = recovered.controls
    old, new = buffer.report("", 0.0).streams
    assert end["logship_id"] == f"{old.stream}:{old.end:010d}"
    assert old.end == old.last
    assert new.spooled == ([(1, 4)] if is_looked_at_in_time else [(2, 4)])
    assert new.end == 4
    storage.close()


CLOSES_ALL = """
import asyncio, os, sys, logship
client = logship.Client(endpoints=sys.argv[1], spool_dir=sys.argv[2])
client.emit({"message": "before"})
os.closerange(3, 256)
async def main():
    print((await client.flush(10)).all_acked)
    await client.close()
asyncio.run(main())
"""


def test_a_program_that_has_closed_its_lock_does_not_take_itself_for_dead(tmp_path: Path) -> None:
    """It would ship its chunks twice, and know of only one of both acks."""
    with ReceiverProcess.start(tmp_path / "out") as receiver:
        ended = ran_python(CLOSES_ALL, receiver.endpoint, tmp_path / "spool")
        messages = [each["record"]["message"] for each in receiver.records()]
    assert (ended.stdout, messages.count("before")) == ("True\n", 1), ended.stderr


CLOSES_ALL_WHILE_IDLE = """
import os, sys, threading, logship
client = logship.BackgroundClient(endpoints=sys.argv[1])
client.emit({"message": "before"})
print(client.flush().all_acked)
(shipper,) = (each for each in threading.enumerate() if each.name == "logship-shipper")
while sys._current_frames()[shipper.ident].f_code.co_name != "select":
    threading.Event().wait(0.005)
os.closerange(3, 256)
client.emit({"message": "later"})
print(client.flush(10).all_acked)
print(client.close().spilled)
"""


def test_an_idle_client_notices_that_all_descriptors_were_closed(tmp_path: Path) -> None:
    """The kernel lets the loop's thread wait on, and what would wake it is closed too."""
    with ReceiverProcess.start(tmp_path / "out") as receiver:
        ended = ran_python(CLOSES_ALL_WHILE_IDLE, receiver.endpoint)
    assert ended.stdout == "True\nFalse\n1\n"
    assert "event loop has failed" in ended.stderr


REUSES_STDERR = """
import os, sys, logship
os.close(2)
file = open(sys.argv[1], "xb")
assert file.fileno() == 2
client = logship.BackgroundClient(endpoints="tcp://127.0.0.1:1", exit_stall_seconds=0.1)
client.emit({"message": "not for this file"})
print(client.close().unacked)
"""


def test_a_file_that_was_opened_as_stderr_before_the_client_began_stays_empty(
    tmp_path: Path,
) -> None:
    path = tmp_path / "data"
    assert ran_python(REUSES_STDERR, path).stdout == "1\n"
    assert path.read_bytes() == b""


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < HIGH + 10:
        if hard != resource.RLIM_INFINITY and hard < HIGH + 10:
            pytest.skip("this process may not have so many descriptors")
        resource.setrlimit(resource.RLIMIT_NOFILE, (HIGH + 10, hard))
    held = [os.open(os.devnull, os.O_RDONLY)]
    while held[-1] < HIGH:
        held.append(os.dup(held[0]))
    yield
    for each in held:
        os.close(each)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
def test_the_watchdog_waits_beside_any_number_of_descriptors() -> None:
    pipe = SelfPipe()
    pipe.open()
    assert pipe.wait(0.0) == b""
    pipe.wake(15)
    assert pipe.wait(10.0) == b"\x0f"
    pipe.close()
