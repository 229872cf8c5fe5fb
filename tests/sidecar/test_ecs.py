"""The task definitions for ECS hold together: sums, volumes, variables, roles.

`tests/lint/test_templates.py` holds them against the rules of `logship lint`.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from logship._settings import Settings
from tests.sidecar.deployed import FLUENTD, SIDECAR

ECS = SIDECAR / "ecs"
KINDS = ("web", "batch")

STOP_SECONDS_MAX = 120
"""Fargate's longest stopTimeout; and on Spot all that there is for all containers."""


class Task:
    """A task definition."""

    def __init__(self, kind: str) -> None:
        self.text = (ECS / f"{kind}.json").read_text()
        self.definition = json.loads(self.text)
        self.containers = {each["name"]: each for each in self.definition["containerDefinitions"]}

    def environ(self, name: str) -> dict[str, str]:
        return {each["name"]: each["value"] for each in self.containers[name]["environment"]}

    def mounts(self, name: str) -> dict[str, str]:
        """Return a container's volumes, and where they are."""
        points = self.containers[name].get("mountPoints", [])
        return {each["sourceVolume"]: each["containerPath"] for each in points}


@pytest.fixture(params=KINDS)
def task(request: pytest.FixtureRequest) -> Task:
    return Task(request.param)


def test_the_sidecars_health_check_is_in_its_image_and_allowed(task: Task) -> None:
    check = task.containers["sidecar"]["healthCheck"]
    assert check["command"] == ["CMD", "logship-healthcheck"]
    assert "logship-healthcheck" in (FLUENTD / "Dockerfile").read_text()
    assert check["interval"] >= 5
    assert 2 <= check["timeout"] <= 60
    assert check["retries"] <= 10
    assert check["startPeriod"] <= 300


def test_the_web_tasks_stops_add_up_to_less_than_spot_gives() -> None:
    stops = [each["stopTimeout"] for each in Task("web").containers.values()]
    assert sum(stops) <= STOP_SECONDS_MAX


def test_the_readme_adds_up_the_same_numbers(task: Task) -> None:
    stops = [task.containers[name]["stopTimeout"] for name in ("app", "recoverer", "sidecar")]
    cells = " | ".join(str(number) for number in [*stops, sum(stops)])
    assert f"| `{task.definition['family']}.json` | {cells}:" in (ECS / "README.md").read_text()


def test_a_container_that_dies_is_restarted_unless_it_is_the_application(task: Task) -> None:
    for name, container in task.containers.items():
        policy = container.get("restartPolicy")
        assert (policy is None) == (name == "app")
        if policy is not None:
            assert policy["enabled"] is True
            assert 60 <= policy["restartAttemptPeriod"] <= 1800


def test_no_batch_is_stopped_because_of_its_logs() -> None:
    essential = [name for name, each in Task("batch").containers.items() if each["essential"]]
    assert essential == ["app"]


def test_the_settings_are_right(task: Task) -> None:
    for name in ("app", "recoverer"):
        settings = Settings.from_env(task.environ(name))
        assert [str(each) for each in settings.endpoints] == ["tcp://127.0.0.1:24224"]
    settings = Settings.from_env(task.environ("app"))
    assert settings.tag == task.definition["family"]
    assert str(settings.spool_dir) == task.mounts("app")["spool"]


def test_the_recoverer_watches_and_is_not_root(task: Task) -> None:
    recoverer = task.containers["recoverer"]
    assert recoverer["user"] != "0:0"
    assert recoverer["command"][-1] == "--watch"


def test_the_sidecars_buffer_is_on_a_volume_that_its_image_declares(task: Task) -> None:
    """On Fargate a mount has the image's owner only where the image says VOLUME."""
    dockerfile = (FLUENTD / "Dockerfile").read_text()
    (line,) = re.findall(r"^VOLUME (.*)$", dockerfile, re.MULTILINE)
    assert task.mounts("sidecar")["sidecar-buffer"] in json.loads(line)
    named = {each["name"] for each in task.definition["volumes"]}
    assert named == {volume for name in task.containers for volume in task.mounts(name)}


def test_terraform_and_the_readme_fill_in_every_variable(task: Task) -> None:
    used = set(re.findall(r"\$\{(\w+)\}", task.text))
    terraform = (ECS / "terraform" / "main.tf").read_text()
    given = set(re.findall(r"^\s+([A-Z_]+)\s+=", terraform, re.MULTILINE))
    readme = (ECS / "README.md").read_text()
    exports = re.findall(r"^\$ export ((?:.*\\\n)*.*)", readme, re.MULTILINE)
    exported = set(re.findall(r"\b([A-Z_]+)=", " ".join(exports)))
    assert used == given
    assert used <= exported


def test_the_daemon_is_the_sidecar_that_other_tasks_can_reach() -> None:
    """As in `web.json`, but it listens for the whole node, and has all of the time to stop."""
    (sidecar,) = Task("daemon").containers.values()
    of_web = dict(Task("web").containers["sidecar"])
    assert sidecar.pop("stopTimeout") == STOP_SECONDS_MAX > of_web.pop("stopTimeout")
    assert sidecar["environment"].pop(0) == {"name": "LOGSHIP_BIND", "value": "0.0.0.0"}
    assert sidecar == of_web


def test_terraform_passes_on_everything_but_the_roles_that_it_makes(task: Task) -> None:
    terraform = (ECS / "terraform" / "main.tf").read_text()
    passed_on = set(re.findall(r"each\.value\.(\w+)", terraform))
    assert passed_on == task.definition.keys() - {"executionRoleArn", "taskRoleArn"}


def test_nothing_in_terraforms_documents_is_unknown_before_apply() -> None:
    """One unknown value would make the whole document unknown in the plan, and unreadable.

    The group's name is what its variable says, so Terraform knows it.
    """
    terraform = (ECS / "terraform" / "main.tf").read_text()
    (variables,) = re.findall(r"templatefile\(.*?, \{\n(.*?)\}\)", terraform, re.DOTALL)
    sources = re.findall(r"^\s+[A-Z_]+\s+= (.*)$", variables, re.MULTILINE)
    assert {each for each in sources if not each.startswith(("var.", '""'))} == {
        "aws_cloudwatch_log_group.containers.name"
    }


def test_the_task_may_put_logs_and_nothing_else() -> None:
    roles = (ECS / "terraform" / "roles.tf").read_text()
    actions: list[Any] = re.findall(r'"((?:s3|logs|ecr|iam|ecs|ssm):[\w*]+)"', roles)
    assert [each for each in actions if each.startswith("s3:")] == ["s3:PutObject"]
    prefix = Task("web").environ("sidecar")["LOGSHIP_S3_PREFIX"]
    assert f'${{var.log_bucket}}/{prefix}*"]' in roles
    assert "*" not in "".join(actions)
