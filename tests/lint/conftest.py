"""A deployment of each platform that has no mistake, for tests that make one."""

from __future__ import annotations

import pytest

from tests.lint.deployments import Deployment, base


@pytest.fixture
def compose() -> Deployment:
    return base("compose")


@pytest.fixture
def kubernetes() -> Deployment:
    return base("kubernetes")


@pytest.fixture
def ecs() -> Deployment:
    return base("ecs")
