"""Stand-ins for destinations: strict about each request, and with faults at known requests.

`python -m tests.sidecar.standins KIND` runs one. What a destination would keep is written as lines
that `logship audit` reads, in the form in which one gets records out of the real one.
"""
