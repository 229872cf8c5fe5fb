"""What an operating system does to a process: signals, exit, fork, deadlines."""
