"""Real commands under `logship run`: their output, signals, deaths and exit codes."""
