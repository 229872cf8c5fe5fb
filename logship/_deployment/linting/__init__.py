"""Reads deployment files before a rollout, and finds mistakes that would lose logs.

    text of a file ─ documents.read_units
      compose, kubernetes, dockerfile, ecs, cloudformation  ─▶ Unit of Containers   (model.py)
      configurations of Fluentd and Fluent Bit, also those
      inside of such a file or made by FireLens             ─▶ Configuration        (sections.py)
    Unit ─ report.judge ─ each rule, given the unit or one part of it ─▶ Mistake ─▶ Finding
    Findings ─ formats.py ─▶ text, JSON, annotations of GitHub, SARIF

`shapes.py` reads values of untrusted documents, `marks.py` knows their lines, `shell.py` and
`commands.py` understand commands, and `rules/snippets.py` has what to write instead.
"""
