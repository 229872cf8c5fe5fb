"""The ECS task that a program runs in: its names, log drivers and images."""
