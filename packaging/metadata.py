"""What the page of the package needs: the address of the project, and links that work there.

The address is not the same for a fork. So the release workflow gives it, as LOGSHIP_HOME_URL;
without it the package has no links to the project, and its README is as in the repository.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_IMAGE = re.compile(r"(!\[[^\]]*\]\(|src=\")(?!https?://)")
_LINK = re.compile(r"(?<=\]\()(?!https?://|#|mailto:)")


class Metadata(MetadataHookInterface):
    """Sets `readme` and `urls`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add both to the metadata of `pyproject.toml`."""
        home = os.environ.get("LOGSHIP_HOME_URL", "").rstrip("/")
        text = (Path(self.root) / "README.md").read_text("utf-8")
        if home:
            text = _LINK.sub(f"{home}/blob/main/", _IMAGE.sub(rf"\1{home}/raw/main/", text))
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        metadata["urls"] = urls(home) if home else {}


def urls(home: str) -> dict[str, str]:
    """Return the project's links, given the address of its repository."""
    return {
        "Homepage": home,
        "Documentation": f"{home}/tree/main/docs",
        "Changelog": f"{home}/blob/main/CHANGELOG.md",
        "Issues": f"{home}/issues",
        "Security": f"{home}/blob/main/SECURITY.md",
    }
