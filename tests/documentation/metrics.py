"""The table of `docs/metrics.md`."""

from __future__ import annotations

from logship._metrics.client_measures import CLIENT_MEASURES
from logship._metrics.measures import AUDIT_MEASURES, BUILD, PAGES_REFUSED, RECEIVER_MEASURES


def table() -> str:
    """Return the table of `docs/metrics.md`."""
    lines = ["| metric | type | what it means | what to do when it moves |", "|---|---|---|---|"]
    tables = (*CLIENT_MEASURES, PAGES_REFUSED, *RECEIVER_MEASURES, *AUDIT_MEASURES, BUILD)
    for measure in tables:
        values = [value for value in measure.values if value]
        label = "" if measure.type == "histogram" or not values else f"{{{measure.label}}}"
        meaning = measure.meaning
        if label:
            meaning += f" `{measure.label}` is {' or '.join(f'`{each}`' for each in values)}."
        cells = (f"`logship_{measure.name}{label}`", measure.type, meaning, measure.remedy)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
