"""Every seeded mistake is found, by its rule and by no other; the templates have none."""

from __future__ import annotations

import contextlib
import json
from copy import deepcopy
from typing import Any

import pytest

from logship._deployment.linting.marks import LintError
from logship._deployment.linting.report import NO_LOGSHIP, judge
from logship._deployment.linting.rules import RULES
from tests.lint.deployments import BASES, Base, Deployment, base, places, rules_of
from tests.lint.mistakes import FORWARD_OUTPUT, MISTAKES, Mistake

CASES = [
    pytest.param(base, mistake, id=f"{base.platform}-{base.name}-{mistake.name}")
    for mistake in MISTAKES
    for base in BASES
    if base.platform == mistake.platform
]


def rules_of_text(text: str) -> set[str]:
    return {each.rule for each in judge("a.json", text).findings}


@pytest.mark.parametrize(("base", "mistake"), CASES)
def test_a_seeded_mistake_is_found_by_its_rule_alone(base: Base, mistake: Mistake) -> None:
    """In a line of its own, since the JSON is indented."""
    deployment = base.make()
    mistake.make(deployment)
    text = json.dumps(deployment.document, indent=1)
    is_spot = mistake.rules[0] == "stop-timeout-sum"
    found = judge("seeded.json", text, is_spot=is_spot).findings
    assert mistake.rules[0] in {each.rule for each in found}
    assert {each.rule for each in found} <= {*mistake.rules}
    for finding in found:
        assert finding.effect
        assert finding.change
        assert finding.container
        assert finding.line is not None
        assert finding.line > 1 or base.platform == "ecs"  # the task begins in the first


def test_what_is_said_of_a_rule_is_whole() -> None:
    for rule in RULES.values():
        assert rule.why.endswith(".")
        assert not rule.finds.endswith(".")
        assert not rule.effect.endswith(".")


# -- ways to be right ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stop_signal", "change"),
    [
        ("SIGUSR2", 'environment: { LOGSHIP_STOP_SIGNALS: "HUP,INT,QUIT,USR2,TERM" }'),
        ("RTMIN+3", 'environment: { LOGSHIP_STOP_SIGNALS: "HUP,INT,QUIT,TERM,RTMIN+3" }'),
        ("KILL", "stop_signal: SIGTERM"),
    ],
)
def test_a_stop_signal_is_added_or_replaced(stop_signal: str, change: str) -> None:
    deployment = base("compose")
    deployment.app["stop_signal"] = stop_signal
    (finding,) = judge("compose.json", deployment.text).findings
    assert finding.change == change


@pytest.mark.parametrize(
    ("script", "better"),
    [
        ("python app.py", '["sh", "-c", "… exec …"]'),
        ("cd /app; python app.py;", '["sh", "-c", "… exec …"]'),
        ("exec a | tee b", '["logship", "run", "--signal-group", "--", "sh", "-c", "…"]'),
        ("a | tee b; c || d", '["logship", "run", "--signal-group", "--", "sh", "-c", "…"]'),
        ("a || b", '["sh", "-c", "… exec …"]'),
    ],
)
def test_a_better_command_is_offered(compose: Deployment, script: str, better: str) -> None:
    compose.app["command"] = ["sh", "-c", script]
    (found,) = judge("compose.json", compose.text).findings
    assert found.change == f"command: {better}"


def test_the_changes_of_a_pod_agree_and_suffice(kubernetes: Deployment) -> None:
    del kubernetes.pod["terminationGracePeriodSeconds"]
    kubernetes.set_variable("LOGSHIP_STOP_TIMEOUT_SECONDS", "45")
    kubernetes.app["command"] = ["gunicorn", "app:app"]
    found = judge("pod.json", kubernetes.text).findings
    assert {each.rule: each.change for each in found} == {
        "stop-timeout-setting": "terminationGracePeriodSeconds: 65",
        "graceful-timeout": "gunicorn --graceful-timeout 45 …",
    }
    kubernetes.pod["terminationGracePeriodSeconds"] = 65
    kubernetes.app["command"] = ["gunicorn", "--graceful-timeout", "45", "app:app"]
    assert not rules_of(kubernetes)


@pytest.mark.parametrize(("place", "rules"), [(0, {"depends-on"}), (1, set()), (2, set())])
def test_an_init_container_that_ships_needs_the_sidecar_before_it(
    kubernetes: Deployment, place: int, rules: set[str]
) -> None:
    migrate = {"name": "migrate", "image": "app", "env": [{"name": "LOGSHIP_TAG", "value": "m"}]}
    kubernetes.pod["initContainers"].insert(place, migrate)
    assert rules_of(kubernetes) == rules


def test_where_no_container_shows_logship_those_beside_a_sidecar_are_applications() -> None:
    """Its settings may be in the image; an init container is none of them."""
    mounts = [{"name": "buffer", "mountPath": "/fluentd/buffer"}]
    sidecar = {"name": "fluentd", "image": "logship-sidecar", "volumeMounts": mounts}
    prepare = {"name": "prepare", "image": "busybox"}
    pod = {"containers": [{"name": "web", "image": "web"}, sidecar], "initContainers": [prepare]}
    text = json.dumps({"apiVersion": "v1", "kind": "Pod", "spec": pod})
    (found,) = judge("pod.json", text).findings
    assert (found.rule, found.container) == ("depends-on", "web")


def test_each_wrong_value_is_a_finding(ecs: Deployment) -> None:
    ecs.set_variable("LOGSHIP_OVERFLOW", "drop")
    ecs.set_variable("LOGSHIP_COMPRESS", "lz4")
    wrong = judge("task.json", ecs.text).findings
    assert [each.rule for each in wrong] == ["wrong-setting"] * 2
    assert ["OVERFLOW" in each.change for each in wrong] == [True, False]


def test_values_from_elsewhere_are_no_findings(ecs: Deployment) -> None:
    """A secret, a template's placeholder, a file: the linter cannot know their values."""
    ecs.app["secrets"] = [{"name": "LOGSHIP_SHARED_KEY", "valueFrom": "arn:aws:ssm:x"}]
    ecs.set_variable("LOGSHIP_USERNAME", "web")
    ecs.set_variable("LOGSHIP_PASSWORD_FILE", "/run/secrets/password")
    ecs.set_variable("LOGSHIP_BUFFER_BYTES_MAX", "${BUFFER}")
    ecs.set_variable("LOGSHIP_ENDPOINTS", "${ENDPOINTS}")
    ecs.set_variable("LOGSHIP_TLS_CA", "/etc/ca.pem")
    (found,) = judge("task.json", ecs.text).findings
    assert (found.rule, found.container) == ("placeholder", "app")
    assert "${BUFFER}, ${ENDPOINTS}" in found.effect


def test_a_described_definition_is_read_as_a_registered_one(ecs: Deployment) -> None:
    described = json.dumps({"taskDefinition": ecs.document, "tags": []})
    assert not judge("described.json", described).findings
    ecs.app["dependsOn"] = []
    assert rules_of_text(described) == set()
    described = json.dumps({"taskDefinition": ecs.document})
    assert rules_of_text(described) == {"depends-on"}
    bare = json.dumps(ecs.document["containerDefinitions"])
    assert rules_of_text(bare) == {"depends-on"}


@pytest.mark.parametrize("believed", ["30", "180"])
def test_the_setting_follows_what_fargate_gives(ecs: Deployment, believed: str) -> None:
    ecs.app["stopTimeout"] = 180
    ecs.set_variable("LOGSHIP_STOP_TIMEOUT_SECONDS", believed)
    changes = {each.rule: each.change for each in judge("task.json", ecs.text).findings}
    assert changes.pop("stop-timeout-limit") == '"stopTimeout": 120'
    setting = '{ "name": "LOGSHIP_STOP_TIMEOUT_SECONDS", "value": "120" }'
    assert changes.pop("stop-timeout-setting") == f'"environment": [{setting}]'


def plan_of(definition: dict[str, Any], **more: Any) -> str:
    values = {
        "family": definition["family"],
        "memory": definition["memory"],
        "requires_compatibilities": definition["requiresCompatibilities"],
        "container_definitions": json.dumps(definition["containerDefinitions"]),
        "volume": [{"name": each["name"], "host_path": ""} for each in definition["volumes"]],
        **more,
    }
    task = {"address": "aws_ecs_task_definition.web", "type": "aws_ecs_task_definition"}
    strategy = [{"capacity_provider": "FARGATE_SPOT", "weight": 1}]
    service = {"type": "aws_ecs_service", "values": {"capacity_provider_strategy": strategy}}
    module = {"resources": [{**task, "values": values}]}
    # A data source that Terraform reads at apply has no values yet.
    data = {"mode": "data", "type": "aws_ecs_task_definition", "values": {"family": "web"}}
    root = {"resources": [service, data], "child_modules": [module]}
    return json.dumps({"format_version": "1.2", "planned_values": {"root_module": root}})


def test_a_plan_is_read_with_its_spot_and_its_volumes(ecs: Deployment) -> None:
    """The service is on Spot: the template's sum fits, a larger one does not."""
    assert not judge("plan.json", plan_of(ecs.document)).findings
    ecs.sidecar["stopTimeout"] = 60
    assert rules_of_text(plan_of(ecs.document)) == {"stop-timeout-sum"}
    ecs.sidecar["stopTimeout"] = 40
    volumes = [{"name": "spool", "host_path": "/var/spool"}]
    assert rules_of_text(plan_of(ecs.document, volume=volumes)) == {"spool-owner"}


def test_a_state_is_read_as_a_plan(ecs: Deployment) -> None:
    """`terraform show -json` without a plan; it knows what a plan knows only after apply."""
    ecs.sidecar["stopTimeout"] = 60
    values = '"terraform_version": "1.9.0", "values"'
    state = plan_of(ecs.document).replace('"planned_values"', values)
    assert rules_of_text(state) == {"stop-timeout-sum"}


@pytest.mark.parametrize(
    "document",
    [
        {"planned_values": {"root_module": {"resources": []}}},
        {
            "Resources": {
                "Network": {"Type": "AWS::EC2::VPC"},
                "Cluster": {"Type": "AWS::ECS::Cluster"},
            }
        },
    ],
)
def test_a_plan_or_a_template_without_a_task_is_not_judged(document: Any) -> None:
    """An application of CDK has several stacks, all in one directory."""
    assert judge("a.json", json.dumps(document)).why_not_judged == NO_LOGSHIP


def test_a_plan_that_knows_no_containers_is_an_error(ecs: Deployment) -> None:
    """Nothing can be said of what is known only after apply, and nothing is no finding."""
    with pytest.raises(LintError, match="known only after apply"):
        judge("plan.json", plan_of(ecs.document, container_definitions=None))


CLASSIC = """\
[INPUT]
    Name          forward
    storage.type  filesystem
[OUTPUT]
    Name          FORWARD
    Match         *
    Retry_Limit   no_limits
    Require_Ack_Response  True
    Tag           $kubernetes['namespace']
    {}
[OUTPUT]
    Name          stdout
    Match         *
"""


@pytest.mark.parametrize(
    ("line", "rules"),
    [
        ("Retain_Metadata_In_Forward_Mode  Off", set()),
        ("retain_metadata_in_forward_mode false", set()),
        ("retain_metadata_in_forward_mode on", {"forward-metadata"}),
        ("# retain_metadata_in_forward_mode false", {"forward-metadata"}),
        ("# logship-lint: ignore forward-metadata it is another Fluent Bit", set()),
    ],
)
def test_what_a_classic_configuration_forwards(line: str, rules: set[str]) -> None:
    findings = judge("fluent-bit.conf", CLASSIC.format(line)).findings
    assert {each.rule for each in findings} == rules
    assert {each.change for each in findings} <= {"retain_metadata_in_forward_mode false"}


@pytest.mark.parametrize(
    ("image", "rules"),
    [
        ("fluent/fluent-bit:5.1.1", {"forward-metadata"}),
        ("fluent/fluent-bit:5.1", {"forward-metadata"}),
        ("fluent/fluent-bit:5.0", {"blind-ack", "forward-metadata"}),
        ("fluent/fluent-bit:v5.0.5-debug", {"blind-ack", "forward-metadata"}),
        ("fluent/fluent-bit:5.0.4", {"blind-ack"}),
        ("fluent/fluent-bit:4.2", {"blind-ack"}),
        ("fluent/fluent-bit:latest", {"forward-metadata"}),
        ("fluent/fluent-bit", {"forward-metadata"}),
        ("aws-for-fluent-bit:stable", {"blind-ack", "forward-metadata"}),
    ],
)
def test_a_fluent_bit_known_to_be_too_old_forwards_no_metadata(image: str, rules: set[str]) -> None:
    """It would not start with the option."""
    deployment = base("compose")
    deployment.sidecar["image"] = image
    deployment.document["configs"] = {"fluent-bit.conf": {"content": FORWARD_OUTPUT}}
    assert rules_of(deployment) == rules


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize("platform", ["ecs", "kubernetes", "compose"])
@pytest.mark.parametrize("junk", [None, -1, "x", "", [], ["x"], {"x": None}, True, 1e400])
def test_junk_anywhere_is_an_error_or_a_finding_and_no_traceback(platform: str, junk: Any) -> None:
    """Each value of a clean deployment is replaced in turn."""
    document = base(platform).document
    for place in places(document):
        broken = deepcopy(document)
        target: Any = broken
        for key in place[:-1]:
            target = target[key]
        target[place[-1]] = junk
        with contextlib.suppress(LintError):
            judge("junk.json", json.dumps(broken))
