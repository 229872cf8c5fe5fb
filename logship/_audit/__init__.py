"""Proves from a sidecar's output that no record is missing, or names those that are.

Every record that logship ships carries a stamp, `<12-character stream>:<10-digit number>`, and a
stream's numbers begin at 1 and have no holes. So completeness can be proved from outside: collect
the numbers that arrived, take away the ones that were declared lost, and each number that remains
was lost in silence.

This package is the judge, and a judge does not share code with what it judges. It imports nothing
else of logship but the root of its errors, and knows the formats from their descriptions alone.
`Audit.feed` takes lines, `Audit.expect` takes drain reports, and `Audit.verdict` says what they
prove. None of these does I/O; `sources` reads files. Memory grows with streams and open gaps, not
with records.
"""
