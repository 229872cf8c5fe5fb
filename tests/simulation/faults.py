"""What can go wrong, by name: each fault has a line here, and is counted when it happens."""

from __future__ import annotations

FAULTS = {
    # at each attempt to connect
    "refuse": "a connection is refused",
    "hang": "a connection hangs until the attempt times out",
    # at each chunk on its way to the server
    "cut": "the connection is cut in the middle of a write; the server has a prefix",
    "black hole": "the connection is silent from now on, both ways, and never ends",
    "congestion": "the kernel takes no more bytes for a while",
    "delay": "bytes are seconds on their way",
    "split": "bytes arrive in pieces",
    # at each ack
    "ack lost": "the server has a chunk, and the connection ends before its ack arrives",
    "ack withheld": "the server has a chunk and never says so, and goes on",
    "ack late": "an ack is overtaken by others",
    "ack duplicated": "an ack comes twice",
    "ack unknown": "an ack comes for an id that nobody sent",
    "ack empty": "the answer is {}: the server could not keep the chunk",
    "ack garbage": "the answer is no ack at all",
    # of a server, for a while
    "slow": "a server takes seconds for each chunk",
    "blocked": "a server takes nothing in, and everything afterwards",
    "full": "a server closes on every chunk",
    "crash": "a server dies and is started again; what it did not ack it may have lost",
    "vanish": "a server's machine is gone: no word of it on connections that were open",
    "reset": "a server ends its connections",
    "one by one": "a server closes each connection after one chunk (deny_keepalive)",
    # of a record, for ever
    "poison closes": "a server closes on a record",
    "poison ignored": "a server passes over a record without a word",
    "too large": "a frame is longer than a server takes",
    # of the client's process
    "client crash": "the process is killed; what it held is lost",
    "client close": "the process closes its client while things go wrong, with little time",
    "stderr stalls": "standard error takes nothing, or part of a line",
    "overflow": "the buffer is full",
}
