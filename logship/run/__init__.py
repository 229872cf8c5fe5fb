"""What `logship run` is made of: one command, its output, its signals, its processes, its end."""
