"""What a finding or an error shows of a file: no password, key or token that is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from logship._cli.lint import command
from tests.lint.deployments import HAS_YAML

HIDDEN = "hidden"
KEY = f"-----BEGIN PRIVATE KEY-----\n{HIDDEN}\n-----END PRIVATE KEY-----\n"


def compose(**service: Any) -> str:
    return json.dumps({"services": {"app": {"image": "app", **service}}})


def variable(name: str, value: str = HIDDEN) -> str:
    return compose(environment={"LOGSHIP_TAG": "web", name: value})


def ecs(**definition: Any) -> str:
    return json.dumps({"containerDefinitions": [{"name": "app", "image": "app", **definition}]})


def pod(**definition: Any) -> str:
    containers = [{"name": "app", "image": "app", **definition}]
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": containers}})


TEXTS = {
    "a token": variable("LOGSHIP_TOKEN"),
    "a shared key, mistyped": variable("LOGSHIP_SHAREDKEY"),
    "a password under another name": variable("LOGSHIP_USER_PW"),
    "credentials": variable("LOGSHIP_CREDENTIALS"),
    "an endpoint, mistyped": variable("LOGSHIP_ENDPOINT", f"tcp://u:{HIDDEN}@h:1"),
    "an endpoint": variable("LOGSHIP_ENDPOINTS", f"tcp://u:{HIDDEN}@h:1"),
    "an endpoint, quoted": variable("LOGSHIP_ENDPOINTS", f"tcp://u:{HIDDEN}%40h:1"),
    "an endpoint, quoted twice": variable("LOGSHIP_ENDPOINTS", f"tcp://u:{HIDDEN}%2540h:1"),
    "an endpoint, quoted elsewhere": variable("LOGSHIP_ENDPOINTS", f"tcp://u:{HIDDEN},%40h:1"),
    "a key in place of its path": variable("LOGSHIP_TLS_KEY", KEY),
    "a long key in place of its path": variable("LOGSHIP_TLS_KEY", KEY * 9),
    "a colon in place of a sign": compose(environment=[f"LOGSHIP_PASSWORD: {HIDDEN}"]),
    "a name with its value": ecs(environment=[{"name": f"LOGSHIP_PASSWORD={HIDDEN}"}]),
    "a text in place of variables": compose(environment=f"LOGSHIP_PASSWORD={HIDDEN}"),
    "variables of compose in ECS": ecs(environment={"LOGSHIP_PASSWORD": HIDDEN}),
    "items of compose in ECS": ecs(environment=[f"LOGSHIP_PASSWORD={HIDDEN}"]),
    "variables of compose in a pod": pod(env={"LOGSHIP_PASSWORD": HIDDEN}),
    "options of a log driver": compose(logging={"options": [f"splunk-token={HIDDEN}"]}),
    "options of an output of FireLens": ecs(
        environment=[{"name": "LOGSHIP_TAG", "value": "web"}],
        logConfiguration={
            "logDriver": "awsfirelens",
            "options": {"Name": "splunk", "Splunk_Token": HIDDEN, "Retry_Limit": "2"},
        },
    ),
    "a quote without an end": compose(command=f"LOGSHIP_PASSWORD={HIDDEN} 'app"),
    "a command of a shell": compose(
        environment={"LOGSHIP_TAG": "web"}, command=["sh", "-c", f"PASSWORD={HIDDEN} app; b"]
    ),
    "options of a shell": compose(
        environment={"LOGSHIP_TAG": "web"}, command=["bash", "-ecx", f"PASSWORD={HIDDEN} app; b"]
    ),
    "a shell without an option": compose(
        environment={"LOGSHIP_TAG": "web", "LOGSHIP_TAGG": "web"},
        command=["bash", f"PASSWORD={HIDDEN} app; b"],
    ),
    "a pipeline": compose(
        environment={"LOGSHIP_TAG": "web"}, command=["sh", "-c", f"PASSWORD={HIDDEN} app | tee b"]
    ),
}
YAML = {
    "a tag of YAML": f"services: {{app: {{image: app, environment: {{A: !!int {HIDDEN}}}}}}}",
    "another tag of YAML": f"services: {{app: {{environment: {{A: !!float {HIDDEN}}}}}}}",
}


@pytest.mark.parametrize("name", [*TEXTS, *(YAML if HAS_YAML else ())])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_no_secret_of_a_file_is_shown(name: str, options: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text({**TEXTS, **YAML}[name])
    result = CliRunner().invoke(command, [str(path), *options])
    assert result.exit_code in (1, 2), "a mistake that is not told would show nothing either"
    assert HIDDEN not in result.output
