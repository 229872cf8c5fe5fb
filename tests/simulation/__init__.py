"""Very many short histories of a client, its buffer and a receiver on a faulty network and disk.

One seed draws every option and every fault; time is virtual, so an hour of waiting costs nothing
and a seed replays exactly. `history` tells the story, `judge` decides whether it was a good one,
`mutations` shows that the judge can tell. `make sim SEEDS=2000` runs a campaign, `make sim SEED=7`
replays one history.
"""
