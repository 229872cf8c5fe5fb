"""Shows what becomes of an application that calls `install()` in its tests without a fixture."""

from __future__ import annotations

from pathlib import Path

import pytest

from logship.testing import SocketSidecar
from tests.testkit.runs import ASYNCIO, PLUGIN, assert_passed, run_pytest

SHOP = """
    import logging
    import logship

    client = logship.install({settings})
    logging.getLogger().setLevel(15)
    log = logging.getLogger("shop")
    log.warning("at import")
    """

TESTS = """
    import logging, multiprocessing, signal, shop
    from logship._hooks.dispositions import get_handler
    from logship._installation.installation import installed_client

    def test_logs():
        for number in range(100):
            shop.log.warning("order %d", number)
        assert shop.client.flush(timeout=10).all_acked

    def test_forks():
        child = multiprocessing.get_context("fork").Process(target=shop.log.warning, args=("x",))
        child.start()
        child.join()
        assert child.exitcode == 0

    def test_records(logship_records):
        shop.log.log(15, "in the fixture")
        assert [each.record["message"] for each in logship_records] == ["in the fixture"]

    def test_sidecar(logship_sidecar):
        shop.log.warning("to the sidecar of the test")
        (record,) = logship_sidecar.wait_for(1)
        assert record.record["message"] == "to the sidecar of the test"

    def test_goes_on():
        assert installed_client() is shop.client
        assert logging.getLogger().level == 15
        assert get_handler(signal.SIGTERM).__module__ == "logship._process.signals"
        shop.log.warning("and again")
    """

ASYNC_TESTS = """
    async def test_async():
        shop.log.warning("on a loop")
    """

FORKS_WITH_THREADS = ("-W", "ignore:This process:DeprecationWarning")


@pytest.mark.parametrize(
    ("plugins", "imported"),
    [((PLUGIN,), "by-tests"), ((PLUGIN, ASYNCIO), "by-conftest")],
    ids=["alone", "with-asyncio"],
)
def test_it_ships_into_nothing_and_the_run_ends_in_silence(
    tmp_path: Path, plugins: tuple[str, ...], imported: str
) -> None:
    """A sidecar that is missed shows: the end of the run would say that logship gives up on it."""
    files = {
        "shop.py": SHOP.format(settings=""),
        "conftest.py": "import shop" if imported == "by-conftest" else "",
        "test_shop.py": TESTS + (ASYNC_TESTS if ASYNCIO in plugins else ""),
    }
    ran = run_pytest(tmp_path, *FORKS_WITH_THREADS, files=files, plugins=plugins)
    assert_passed(ran, 5 + (ASYNCIO in plugins))


@pytest.mark.parametrize("named_by", ["argument", "LOGSHIP_ENDPOINTS", "FLUENT_HOST"])
def test_a_sidecar_that_is_named_gets_the_records(tmp_path: Path, named_by: str) -> None:
    with SocketSidecar() as sidecar:
        host, _, port = sidecar.endpoint.removeprefix("tcp://").partition(":")
        environ = {
            "argument": {},
            "LOGSHIP_ENDPOINTS": {"LOGSHIP_ENDPOINTS": sidecar.endpoint},
            "FLUENT_HOST": {"FLUENT_HOST": host, "FLUENT_PORT": port},
        }[named_by]
        settings = f"endpoints={sidecar.endpoint!r}" if named_by == "argument" else ""
        files = {"shop.py": SHOP.format(settings=settings), "test_shop.py": TESTS}
        ran = run_pytest(tmp_path, *FORKS_WITH_THREADS, files=files, environ=environ)
        assert_passed(ran, 5)
        messages = [each.record["message"] for each in sidecar.records]
    orders = [f"order {number}" for number in range(100)]
    assert sorted(messages) == sorted(["at import", *orders, "x", "and again"])
