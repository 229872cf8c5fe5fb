"""Real forward-protocol servers as processes: Fluentd, Fluent Bit, Node's FluentServer, our own.

A test that ships records should ship them to what its users run. Every server here is found on
PATH, writes what it received to files, and can be killed, terminated and started again on the
same port. Each writes one file a tag where it can, so that tests that share a server do not meet.
Nothing here knows logship's client: what arrived is read from the servers' own output files.
"""

from tests.support.servers.embedded import EmbeddedReceiver
from tests.support.servers.fluent_bit import FluentBit, why_no_fluent_bit
from tests.support.servers.fluentd import (
    NO_FLUSH,
    Fluentd,
    fluentd_commands,
    fluentd_version,
    section,
    why_no_fluentd,
)
from tests.support.servers.node import (
    NodeServer,
    node_package,
    why_no_node,
    why_no_node_package,
)
from tests.support.servers.process import (
    Arrived,
    ReservedPort,
    Security,
    ServerProcess,
    Tls,
    json_objects,
    objects_of,
    whole_lines,
)

__all__ = [
    "NO_FLUSH",
    "Arrived",
    "EmbeddedReceiver",
    "FluentBit",
    "Fluentd",
    "NodeServer",
    "ReservedPort",
    "Security",
    "ServerProcess",
    "Tls",
    "fluentd_commands",
    "fluentd_version",
    "json_objects",
    "node_package",
    "objects_of",
    "section",
    "whole_lines",
    "why_no_fluent_bit",
    "why_no_fluentd",
    "why_no_node",
    "why_no_node_package",
]
