"""What is counted, seen from outside: a client's numbers, a process's page, a container's sum."""
