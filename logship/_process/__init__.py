"""How a process is stopped: signals, the stop clock, the deadline, the watchdog."""
