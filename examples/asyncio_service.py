"""A service around an event loop: `python asyncio_service.py`."""

import asyncio
import itertools
import logging

import logship

log = logging.getLogger("orders")


async def take_orders(desk):
    for order in itertools.count(1):
        log.info("order %d placed", order, extra={"desk": desk})
        await asyncio.sleep(0.005)


async def main():
    try:
        async with asyncio.TaskGroup() as group:
            for desk in range(4):
                group.create_task(take_orders(desk))
    finally:
        log.info("the service has ended")


if __name__ == "__main__":
    logship.install()
    asyncio.run(main())
