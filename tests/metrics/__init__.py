"""Metrics: the numbers, the pages of several processes, and the endpoint that serves them."""
