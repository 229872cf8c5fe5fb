"""Measures logship's promises with real processes and an independent ledger.

`python -m benchmarks loss` runs one scenario, `demo` the three that a newcomer should see first,
`proof` the whole matrix. How a run is judged: the application (`application.py`) notes each line
in a ledger (`ledger.py`) after `logging` returned; `judge.py`, which imports nothing of logship,
compares that ledger with the sidecar's output files.
"""
