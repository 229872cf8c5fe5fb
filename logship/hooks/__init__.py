"""What the interpreter and the kernel do to a process: forks, exits, threads, interruptions."""
