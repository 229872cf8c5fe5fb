"""One call into the system fails, in a real process: is each record delivered, written, or named?

`make faults` runs every component, call, error and occurrence; pytest runs a fixed part of them.
"""
