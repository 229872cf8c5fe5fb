"""Bytes from outside, by the million: what reads foreign input keeps its promises for any of it.

`make fuzz MINUTES=5 TARGET=audit` searches; the tests replay the corpora and a few seeds. A finding
becomes a file in `corpus/<target>/`, named after what it showed.
"""
