"""A sidecar that acknowledges everything and forgets every tenth record: what a judge must see."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import sys
from typing import Any, TextIO

import msgpack


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, out: TextIO) -> None:
    unpacker = msgpack.Unpacker(strict_map_key=False)
    try:
        while data := await reader.read(65536):
            unpacker.feed(data)
            for message in unpacker:
                _take(message, writer, out)
    except OSError:
        pass  # a client that is gone has nothing more to say
    finally:
        writer.close()


def _take(message: list[Any], writer: asyncio.StreamWriter, out: TextIO) -> None:
    if isinstance(message[1], bytes):
        records = [entry[1] for entry in msgpack.Unpacker(io.BytesIO(message[1]))]
    else:
        records = [message[2]]
    for record in records:
        if next(_COUNT) % 10:
            out.write(json.dumps({"record": record}) + "\n")
    if isinstance(message[-1], dict) and "chunk" in message[-1]:
        writer.write(msgpack.packb({"ack": message[-1]["chunk"]}))


_COUNT = itertools.count(1)


async def _main(port: int, path: str) -> None:
    with open(path, "a", buffering=1) as out:  # noqa: PTH123, ASYNC230 - a program of its own, and it has nothing else to do
        server = await asyncio.start_server(lambda r, w: _serve(r, w, out), "127.0.0.1", port)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), sys.argv[2]))
