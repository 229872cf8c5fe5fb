"""Golden data: what logship wrote and answered at one commit; tests hold today's tree to it.

`data/` was written by `python -m tests.golden.make` at the commit that `data/README.md` names. The
tests use only what is public: the commands, `logship.*`, the formats that `docs/` describes, and
`tests.support.packing.pack_record`. So they survive a change of everything that is inside.
"""
