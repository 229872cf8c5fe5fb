"""What can go wrong, by name: each fault has a line here, and is counted when it happens.

Each fault has a stream of chance of its own. So one more name in `FAULTS` changes only those
histories that draw it, and the seeds of mutations among them.
"""

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
    "ack unknown": "an ack comes for an id that was not sent",
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

DISK_FAULTS = {
    # where there is a spool; drawn from a stream of chance of its own
    "disk full": "a file cannot be allocated: ENOSPC",
    "disk quota": "a file cannot be allocated: EDQUOT",
    "disk error": "a file cannot be allocated: EIO",
    "disk read-only": "a file cannot be allocated: EROFS",
    "disk late": "the next segment is not prepared in time",
    "disk kill": "the process is killed in the middle of a store",
    "disk crash": "the process is killed between two events, a spool in use",
    "disk flip": "a chunk's entries are damaged before they are recovered",
    "disk header": "a bit of a chunk's header flips before it is recovered",
    "disk torn": "a segment is cut off, or zeros from somewhere on",
    "disk streams": "the file with the streams' slots is damaged, cut off or gone",
    "unspooled": "a record is held in memory for want of a disk",
    "recovered": "a chunk of a dead process is acked",
}

RECOVERY_FAULTS = {
    # at each system call of a recoverer; from a stream of chance of their own
    "read fails": "a file of a dead process cannot be read at the moment: EIO",
    "bad sector": "a page of a segment cannot be read, for a while or for good",
    "read short": "a read gives fewer bytes than there are",
    "segment vanishes": "another program removes a segment before it is opened",
    "mark fails": "that a chunk is acked, or a stream ended, cannot be stored",
    "keep fails": "the quarantine cannot be written: ENOSPC, EDQUOT, EIO, EROFS",
    "keep full": "the quarantine cannot be written while the volume is in trouble, as others",
    "remove fails": "a file or the directory of a finished process cannot be removed",
    "lock busy": "the lock of a dead process cannot be had at the moment",
    "list fails": "a directory cannot be listed: EIO",
    "recoverer killed": "a recoverer is killed before or after a system call",
    "recovers again": "a recoverer comes after one that met faults",
    # of records in a spool
    "poison spooled": "a record that no server takes is given up by the process that logged it",
    "poison recovered": "one is given up by a recoverer",
    "poison left": "one stays on the spool, for want of a neighbour that is acked",
}
