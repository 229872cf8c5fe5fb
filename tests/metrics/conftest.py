"""The lifecycle tests' sidecar and programs, owners of pages, and a person who scrapes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.metrics.owners import Owners
from tests.metrics.scraping import Scraper
from tests.process.conftest import gate, programs, sidecar

__all__ = ["gate", "open_directory", "owners", "pages", "programs", "scraper", "sidecar"]


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """Where the processes of a test keep their pages."""
    return tmp_path / "pages"


@pytest.fixture
def owners(pages: Path) -> Iterator[Owners]:
    owners = Owners(pages)
    yield owners
    owners.kill_all()


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that is open to all users, as /tmp is."""
    directory = Path(tempfile.mkdtemp(dir="/tmp"))
    directory.chmod(0o1777)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def environ(port: int, pages: Path) -> dict[str, str]:
    """What the processes of a test share: a port, and a directory of pages."""
    return {"LOGSHIP_METRICS_PORT": str(port), "LOGSHIP_METRICS_DIR": str(pages)}


@pytest.fixture
def scraper(port: int) -> Iterator[Scraper]:
    """Scrapes all the time, and holds that no counter ever goes down."""
    with Scraper(port) as scraper:
        yield scraper
