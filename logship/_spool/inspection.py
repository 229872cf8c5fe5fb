"""What is on a spool, for `logship recover --dry-run`: everything is read, and nothing changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from logship._spool.chunks import Contents, FoundChunk
from logship._spool.directories import NotTaken, ProcessDirectory, born_ns, process_directories
from logship._spool.files import FileBytes, closing
from logship._spool.format import ACKED
from logship._spool.segments import find_chunks
from logship._spool.spool_directory import SpoolError, open_spool_directory
from logship._spool.survey import CHUNKS_MAX, TOO_MANY_CHUNKS, text_of


def inspect_spool(path: Path) -> Iterator[dict[str, object]]:
    """Yield what each process directory under `path` holds, oldest first.

    Raises:
        SpoolError: `path` is not a directory of a spool, or cannot be read.
    """
    with closing(open_spool_directory(path, any_owner=True)) as parent:
        try:
            names = process_directories(parent)
        except OSError as error:
            raise SpoolError(f"{path}: {error.strerror}") from error
        for born, name in sorted((born_ns(parent, each), each) for each in names):
            found = _inspect(parent, name)
            if found is not None:
                yield {"life": name, "born_ns": born, **found}


def _inspect(parent: int, name: str) -> dict[str, object] | None:
    """Return what is to be said of a directory; None where it has been removed meanwhile."""
    try:
        locked = ProcessDirectory.take_over(parent, name)
        if isinstance(locked, ProcessDirectory):
            locked.leave()  # a recoverer takes the process of a locked directory for alive
        directory = ProcessDirectory.take_over(parent, name, only_looks=True)
    except SpoolError as error:
        return {"state": "refused", "reason": str(error)}
    if not isinstance(directory, ProcessDirectory):
        return None
    is_locked = locked is NotTaken.LOCKED
    try:
        contents = _contents(directory)
    except OSError as error:
        if is_locked or isinstance(error, FileNotFoundError):  # a file has just been removed
            return {"state": "alive or being recovered"}
        return {"state": "refused", "reason": str(error)}
    finally:
        directory.leave()
    if is_locked:  # what is just being written may look damaged
        return {"state": "alive or being recovered", **contents, "damages": []}
    return {"state": "dead", **contents}


def _contents(directory: ProcessDirectory) -> dict[str, object]:
    chunks: list[FoundChunk] = []
    damages: list[str] = []
    for name in directory.segments():
        with directory.opened(name) as descriptor:
            read, found = FileBytes(descriptor), Contents()
        for each in find_chunks(read.data, directory.id, found):
            if each.state != ACKED and each.entries:
                chunks.append(each)
            if len(chunks) > CHUNKS_MAX:
                raise OSError(TOO_MANY_CHUNKS)
        damages += [f"{name} at {each.first}: {each.reason}" for each in found.damages]
        damages += [f"{name} at {at}: cannot be read: {why}" for at, why in read.unreadable.items()]
        damages += [f"{name}: {found.refused}"] if found.refused is not None else []
    return {
        "chunks": len(chunks),
        "entries": sum(each.entries for each in chunks),
        "bytes": sum(each.size for each in chunks),
        "damages": damages,
        "streams": _streams(sorted(chunks, key=lambda each: each.identity.serial)),
    }


def _streams(chunks: list[FoundChunk]) -> list[dict[str, object]]:
    """Return what chunks in their order hold of each stream; its tag may be known late."""
    by_stream: dict[str, list[FoundChunk]] = {}
    for each in chunks:
        by_stream.setdefault(each.identity.stream, []).append(each)
    return [
        {
            "stream": stream,
            "tag": text_of(found[-1].identity.tag),
            "first": found[0].identity.first,
            "chunks": len(found),
            "entries": sum(each.entries for each in found),
        }
        for stream, found in by_stream.items()
    ]
