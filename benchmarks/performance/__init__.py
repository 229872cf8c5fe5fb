"""The performance of logship and of other loggers: `python -m benchmarks all`.

Each measure is a module with one function that returns a `Measured`: plain samples, each one value
of one figure for one subject in one turn. Subjects are processes of their own (`programs/`) and
take turns, so that ratios are formed within a turn; tables, pages, plots and comparisons are made
from the samples alone.
"""
