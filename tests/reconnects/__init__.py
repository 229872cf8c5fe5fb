"""Ten thousand tasks connect again after their tier was away, in simulated time.

`make reconnects` tells how long it takes and whether the attempts come in waves. The decisions are
those of `logship._delivery`, with the waits that a client uses.
"""
