"""The parts of `logship run`: one command, its output, its signals, its processes, its end."""
