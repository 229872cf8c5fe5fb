"""Real receivers, servers and programs for tests, and what they are judged by."""
