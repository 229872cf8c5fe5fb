"""Crash-safe storage of chunks, and the recovery of what dead processes left in it.

A living process writes: `storage` is what the buffer sees, `own_directory` has the files, `mapped`
stores into them.

A recoverer reads: `orphans` finds and locks the directories of dead processes, `adoption` recovers
one of them, step by step. Its first part is `survey`, which reads files by `segments`, `chunks` and
`slots`. `orphan` has what is known of the directory, and marks what has ended in its files.

Both know `format`, the layout of the files, and `directories`, with the lock that says which
processes are dead.
"""
