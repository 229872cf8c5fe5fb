"""The verdict as JSON, and in words, of which the first line is enough for a tired reader."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from logship._audit.evidence import Refusals
from logship._audit.ranges import Ranges
from logship._audit.verdict import Outcome, StreamVerdict, Verdict

RANGES_SHOWN_MAX: Final = 10
STREAMS_SHOWN_MAX: Final = 20
NAME_CHARACTERS_MAX: Final = 200
"""Of a tag or a reason; a longer one would leave no room for the numbers behind it."""


def verdict_as_text(verdict: Verdict, notes: Iterable[str], stamp_key: str) -> Iterator[str]:
    """Yield the lines for a terminal; the notes say what is odd about the files."""
    yield from _headline(verdict, stamp_key)
    worst_first = sorted(verdict.streams, key=_badness)
    if worst_first:
        yield ""
        yield from _table(worst_first[:STREAMS_SHOWN_MAX])
    for stream in worst_first[:STREAMS_SHOWN_MAX]:
        yield from _details(stream)
    if len(worst_first) > STREAMS_SHOWN_MAX:
        yield f"... and {_streams(len(worst_first) - STREAMS_SHOWN_MAX)} more; --json has all"
    for refusals in verdict.refusals[:STREAMS_SHOWN_MAX]:
        yield from _refusal_details(refusals)
    yield ""
    yield from _how_it_was_read(verdict, notes)


def _headline(verdict: Verdict, stamp_key: str) -> Iterator[str]:
    match verdict.outcome:
        case Outcome.COMPLETE:
            yield _complete(verdict)
        case Outcome.LOST:
            yield from _lost(verdict)
        case Outcome.DECLARED:
            yield f"NOT COMPLETE, but nothing lost in silence: {_incomplete(verdict)}"
        case Outcome.UNPROVEN:
            yield f"UNPROVEN: {_incomplete(verdict)}"
        case Outcome.NO_STAMPS:
            yield _no_stamps(verdict, stamp_key)


def _no_stamps(verdict: Verdict, stamp_key: str) -> str:
    if not verdict.lines:
        return (
            "NO RECORDS: the input is empty, so nothing can be proved. Has the sidecar flushed its "
            "buffer yet, and is this the file that it writes?"
        )
    return (
        f'NO STAMPS: no line of {verdict.lines:,} has a stamp under "{stamp_key}", so '
        "nothing can be proved. Is the setting `stamp` on, is this its `stamp_key`, and is each "
        "record JSON, not csv, ltsv or msgpack?"
    )


def _complete(verdict: Verdict) -> str:
    records = sum(stream.records for stream in verdict.streams)
    duplicates = sum(stream.duplicates for stream in verdict.streams)
    text = f"complete: {_records(records)} of {_streams(len(verdict.streams))}, all delivered"
    return f"{text}, {many(duplicates, 'duplicate')}{_kept_back(verdict)}"


def _kept_back(verdict: Verdict) -> str:
    """Return what to add if settings of the application kept records back."""
    count = sum(stream.kept_back_count for stream in verdict.streams)
    return f"; {_records(count)} kept back on purpose" if count else ""


def _lost(verdict: Verdict) -> Iterator[str]:
    """Say what is lost, then what contradicts itself: each alone means exit code 1."""
    losers = sorted((stream for stream in verdict.streams if stream.lost), key=_badness)
    if len(losers) == 1:
        ranges = _ranges(losers[0].lost)
        yield f"LOST: {_records(losers[0].lost.count)} of {_name(losers[0])}: {ranges}"
    elif losers:
        lost = sum(stream.lost.count for stream in losers)
        yield (
            f"LOST: {_records(lost)} of {_streams(len(losers))}; most of them, "
            f"{losers[0].lost.count:,}, of {_name(losers[0])}"
        )
    for refusals in verdict.refusals:
        if refusals.lost:
            ranges = _ranges(refusals.lost)
            yield f"LOST: {_records(refusals.lost.count)} that {_life(refusals)} refused: {ranges}"
    yield from (f"INCONSISTENT: {problem}" for problem in verdict.problems)
    muddled = [stream for stream in verdict.streams if stream.problems]
    for stream in muddled[:STREAMS_SHOWN_MAX]:
        yield from (f"INCONSISTENT: {_name(stream)} {problem}" for problem in stream.problems)
    if len(muddled) > STREAMS_SHOWN_MAX:
        yield f"INCONSISTENT: and {_streams(len(muddled) - STREAMS_SHOWN_MAX)} more"


def _incomplete(verdict: Verdict) -> str:
    """Say what arrived, and each reason why the output is not complete."""
    delivered = sum(stream.records for stream in verdict.streams)
    copies = sum(stream.spilled.count for stream in verdict.streams)
    declared = sum(stream.declared_count for stream in verdict.streams)
    refused = sum(each.untold for each in verdict.refusals)
    unclear = sum(stream.refused for stream in verdict.streams if not stream.reported)
    unproven = sum(stream.proof is None for stream in verdict.streams)
    unnamed, torn = verdict.unnamed, verdict.torn_reports
    parts = [
        (unproven, f"{_streams(unproven)} without a proven end, so later records may be missing"),
        (copies, f"{copies:,} only as spilled copies"),
        (declared, f"{many(declared, 'number')} declared missing"),
        (refused, f"{refused:,} refused by calls that returned no error"),
        (unclear, f"{unclear:,} refused, and no report says whether the application was told"),
        (
            unnamed,
            f"at least {unnamed:,} accepted in streams that no report names, or without this stamp",
        ),
        (torn, f"{many(torn, 'drain report')} unreadable, which may name other streams"),
    ]
    what = "; ".join(text for count, text in parts if count)
    return f"{_records(delivered)} delivered; {what}{_kept_back(verdict)}"


def _badness(stream: StreamVerdict) -> tuple[object, ...]:
    return (-stream.lost.count, not stream.problems, -stream.absent, stream.proof is not None)


def _table(streams: Iterable[StreamVerdict]) -> Iterator[str]:
    head = ["stream", "tag", "records", "duplicates", "spilled", "declared", "LOST", "end"]
    rows = [head, *(_row(stream) for stream in streams)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        cells = (
            cell.rjust(width) if 2 <= column <= 6 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def _row(stream: StreamVerdict) -> list[str]:
    counts = (
        stream.records,
        stream.duplicates,
        stream.spilled.count,
        stream.declared_count,
        stream.lost.count,
    )
    end = f"{stream.proof}: {stream.last:,}" if stream.proof else f"UNPROVEN after {stream.last:,}"
    tag = _short(stream.tag or "?")
    return [_short(stream.stream), tag, *(f"{count:,}" for count in counts), end]


def _details(stream: StreamVerdict) -> Iterator[str]:
    name = _short(stream.stream)
    if stream.lost:
        yield f"{name} LOST: {_ranges(stream.lost)}{_acked_and_lost(stream)}"
    if stream.spilled:
        yield f"{name} spilled, the copies are here: {_ranges(stream.spilled)}"
    for (reason, by), numbers in stream.declared.items():
        yield f"{name} declared by {by}, {_short(reason) or 'no reason'}: {_ranges(numbers)}"
    if stream.beyond:
        yield f"{name} numbers after the end: {_ranges(stream.beyond)}"
    if stream.spilled_too:
        yield f"{name} spilled and delivered as well: {stream.spilled_too:,}"
    if stream.refused:
        yield f"{name} refused by the client, without a number: {stream.refused:,}"


def _refusal_details(refusals: Refusals) -> Iterator[str]:
    """Say how many records were refused without an error for the call, and where they are."""
    if refusals.untold:
        yield (
            f"{_life(refusals)} refused by calls that returned no error: {refusals.untold:,}; "
            f"copies of {refusals.copies.count:,} are here"
        )
    count = refusals.count
    if count.unwritten:
        yield f"{_life(refusals)} refused, and stderr did not take them: {count.unwritten:,}"
    if count.told:
        yield f"{_life(refusals)} refused by calls that returned an error or False: {count.told:,}"


def _life(refusals: Refusals) -> str:
    return f"process life {_short(refusals.life)}"


def _acked_and_lost(stream: StreamVerdict) -> str:
    if stream.lost.highest > stream.reported:
        return ""
    return " (acked, says its report: look at what the sidecar did after its ack)"


def _how_it_was_read(verdict: Verdict, notes: Iterable[str]) -> Iterator[str]:
    read = f"read: {many(verdict.lines, 'line')}, {verdict.unstamped:,} of them without a stamp"
    yield f"{read}; {many(verdict.reports, 'report')}"
    if verdict.unreadable:
        yield f"unreadable: {many(verdict.unreadable, 'line')}; what they held counts as missing"
        for place in verdict.unreadable_places:
            yield f"  {place.source}, line {place.line:,}: {place.why}"
    if verdict.streams and not any(stream.delivered for stream in verdict.streams):
        yield "note: nothing stamped was delivered at all; are these the right files and stamp key?"
    if any(stream.lost.highest > stream.reported for stream in verdict.streams if stream.lost):
        yield (
            "note: no report answers for a LOST stream. The stderr of its process may have one, or "
            "the records themselves: give it as a FILE too"
        )
    if any(stream.proof is None for stream in verdict.streams):
        yield (
            "note: nothing here shows how an UNPROVEN stream ended. Its process may be alive, or "
            "may have been killed, or a part of the output is not here. If there is a drain report "
            "of that process, give it with --expect"
        )
    yield from (f"note: {note}" for note in notes)


def _ranges(ranges: Ranges) -> str:
    shown = [
        str(first) if first == last else f"{first}-{last}"
        for first, last in islice(ranges, RANGES_SHOWN_MAX)
    ]
    more = len(ranges) - len(shown)
    return ", ".join(shown) + (f", ... and {many(more, 'more range')}" if more else "")


def _name(stream: StreamVerdict) -> str:
    return f"stream {_short(stream.stream)} (tag {_short(stream.tag or '?')})"


def _records(count: int) -> str:
    return many(count, "record")


def _streams(count: int) -> str:
    return many(count, "stream")


def many(count: int, what: str) -> str:
    """Return a number with what it counts, which is one word or more in the singular."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _short(name: str) -> str:
    return name[:NAME_CHARACTERS_MAX] + "…" * (len(name) > NAME_CHARACTERS_MAX)


def verdict_as_json(verdict: Verdict, notes: list[str]) -> str:
    """Return all that the verdict says, and what is odd about the files."""
    document = {
        "outcome": verdict.outcome.value,
        "exit_code": verdict.outcome.exit_code,
        "lines": verdict.lines,
        "unstamped": verdict.unstamped,
        "unreadable": verdict.unreadable,
        "unreadable_places": list(map(dataclasses.asdict, verdict.unreadable_places)),
        "reports": verdict.reports,
        "unnamed": verdict.unnamed,
        "notes": notes,
        "problems": list(verdict.problems),
        "streams": [_stream_as_json(stream) for stream in verdict.streams],
        "refusals": [_refusals_as_json(each) for each in verdict.refusals],
    }
    return json.dumps(document, indent=2)


def _refusals_as_json(refusals: Refusals) -> dict[str, object]:
    return {
        "refused_id": refusals.life,
        "copies": list(refusals.copies),
        "declared": refusals.declared,
        "lost": list(refusals.lost),
        "unwritten": refusals.count.unwritten,
        "told": refusals.count.told,
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
        "declared": [
            [first, last, *claim]
            for claim, numbers in stream.declared.items()
            for first, last in numbers
        ],
        "lost": list(stream.lost),
        "beyond": list(stream.beyond),
        "refused": stream.refused,
        "problems": list(stream.problems),
    }
