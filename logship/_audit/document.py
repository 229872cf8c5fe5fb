"""The verdict as one JSON object."""

from __future__ import annotations

import json

from logship._audit.refusals import RefusalsVerdict
from logship._audit.verdict import StreamVerdict, Verdict


def verdict_as_json(verdict: Verdict, notes: list[str]) -> str:
    """Return all that the verdict says.

    Args:
        verdict: Of the audit.
        notes: What is odd about the files.
    """
    document = {
        "outcome": verdict.outcome.value,
        "exit_code": verdict.outcome.exit_code,
        "lines": verdict.lines,
        "unstamped": verdict.unstamped,
        "unreadable": verdict.unreadable,
        "unreadable_places": [
            {"source": place.source, "line": place.line, "why": place.why}
            for place in verdict.unreadable_places
        ],
        "reports": verdict.reports,
        "unnamed": verdict.unnamed,
        "notes": notes,
        "problems": list(verdict.problems),
        "streams": [_stream_as_json(stream) for stream in verdict.streams],
        "refusals": [_refusals_as_json(each) for each in verdict.refusals],
    }
    return json.dumps(document, indent=2)


def _refusals_as_json(refusals: RefusalsVerdict) -> dict[str, object]:
    return {
        "refused_id": refusals.life,
        "copies": list(refusals.copies),
        "declared": refusals.declared,
        "lost": list(refusals.lost),
        "unwritten": refusals.unwritten,
        "told": refusals.told,
    }


def _stream_as_json(stream: StreamVerdict) -> dict[str, object]:
    return {
        "stream": stream.stream,
        "tag": stream.tag,
        "outcome": stream.outcome.value,
        "last": stream.last,
        "proof": stream.proof,
        "delivered": stream.delivered.count,
        "records": stream.records,
        "duplicates": stream.duplicates,
        "spilled": list(stream.spilled),
        "spilled_and_delivered": stream.spilled_too,
        "declared": [[item.first, item.last, item.reason, item.by] for item in stream.declared],
        "lost": list(stream.lost),
        "beyond": list(stream.beyond),
        "refused": stream.refused,
        "problems": list(stream.problems),
    }
