"""A service around an event loop that ends in order: `python asyncio_service.py`."""

import asyncio
import itertools
import logging
import signal

import logship

log = logging.getLogger("orders")


async def take_orders(desk):
    for order in itertools.count(1):
        log.info("order %d placed", order, extra={"desk": desk})
        await asyncio.sleep(0.005)


async def main():
    service = asyncio.gather(*map(take_orders, range(4)))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, service.cancel)
    try:
        await service
    except asyncio.CancelledError:
        log.info("the service has ended")


if __name__ == "__main__":
    logship.install()
    asyncio.run(main())
