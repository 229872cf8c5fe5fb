"""Storms: real programs in foul weather, judged exactly by what their logging calls returned.

`make storm RECORDS=10000000` runs them with full counts; pytest runs short ones.
"""
