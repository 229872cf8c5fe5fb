"""A shop that places orders: `python shop.py 3`."""

import logging
import sys

import logship

log = logging.getLogger("shop")


def place(order, items):
    if not items:
        log.warning("order %d is empty", order, extra={"order": order})
        return
    log.info("order %d placed", order, extra={"order": order, "items": items})


def main():
    logship.install(tag="shop")
    for order in range(1, int(sys.argv[1]) + 1):
        place(order, ["tea"])


if __name__ == "__main__":
    main()
