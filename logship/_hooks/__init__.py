"""Hooks of the interpreter and the kernel: forks, exits, threads, locks, interruptions."""
