"""What an operating system does to a process, and what becomes of its records then."""
