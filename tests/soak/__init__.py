"""Everything at once for a long time: what grows, and is a record missing at the end?

`make soak MINUTES=60` runs it in full; pytest runs twelve seconds of it.
"""
