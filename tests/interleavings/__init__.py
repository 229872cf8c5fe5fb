"""Every interleaving of a few threads in a buffer, up to a number of preemptions.

Instead of reading bytecode, the explorer makes the threads: one runs at a time, and before each
access to what they share it decides which one goes on.
"""
