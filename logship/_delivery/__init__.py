"""What to send, when to connect, what counts as delivered: decisions without I/O. PURE.

A chunk is delivered when the server has acked its id. That the kernel took the bytes says nothing,
because a server that dies takes them with it. So every sent chunk stays in the in-flight window
until its ack. When the connection ends, the whole window goes out again, in its old order and with
its old ids, and a reader of the output can recognise the duplicates by their stamps.
"""
