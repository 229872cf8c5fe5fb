"""The types of settings that are one of a few words, or a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

Overflow = Literal["block", "drop_oldest", "drop_newest"]
LastResort = Literal["stderr", "none"]
Compress = Literal["none", "gzip", "zstd"]
TimeFormat = Literal["iso", "epoch"]
Fsync = Literal["never", "interval"]
Report = bool | Literal["emf"]
Redact = Callable[[Mapping[Any, Any]], Mapping[Any, Any] | None]
