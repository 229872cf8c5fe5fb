"""Two aggregators under load: one of them is killed, the network parts the tiers, nothing is lost.

`make aggregators MINUTES=10` runs each variant in full; pytest runs a few seconds of one.
"""
