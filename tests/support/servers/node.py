"""Node's FluentServer as a process."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.servers.process import ServerProcess

_SERVER_PACKAGE = "@fluent-org/logger"

_NODE_SERVER = """\
// Writes {"tag", "time_ns" as text, "record"} lines; ends at SIGTERM, like any container.
const fs = require("fs");
const options = JSON.parse(process.argv[2]);
const { FluentServer } = require(options.package);
const out = fs.openSync(options.out, "a");
const plain = (name, value) => (typeof value === "bigint" ? value.toString() : value);
const digits = (number, width) => String(number).padStart(width, "0");
class Server extends FluentServer {
  onEntry(tag, time, record) {
    const [seconds, nanoseconds] = typeof time === "object" ? [time.epoch, time.nano] : [time, 0];
    const time_ns = String(seconds) + digits(nanoseconds, 9);
    fs.writeSync(out, JSON.stringify({ tag, time_ns, record }, plain) + "\\n");
  }
}
const read = (path) => (path ? fs.readFileSync(path) : undefined);
const server = new Server({
  listenOptions: { host: "127.0.0.1", port: options.port },
  security: options.security || undefined,
  tlsOptions: options.tls
    ? { cert: read(options.tls.cert), key: read(options.tls.key), ca: read(options.tls.ca),
        requestCert: Boolean(options.tls.ca), rejectUnauthorized: Boolean(options.tls.ca) }
    : undefined,
});
server.listen();
process.on("SIGTERM", () => {
  const end = () => process.exit(0);
  server.close().then(end);
  setTimeout(end, 1000); // close() waits for ever for a connection that is still in its handshake
});
"""


@cache
def node_package(name: str) -> str | None:
    """Return the directory of a Node package, or None where it is not found.

    Looked for below LOGSHIP_TEST_NODE_PATH and NODE_PATH, as node itself does with the latter.
    """
    paths = [os.environ.get(each, "") for each in ("LOGSHIP_TEST_NODE_PATH", "NODE_PATH")]
    for path in os.pathsep.join(paths).split(os.pathsep):
        for below in (Path(path), Path(path) / "node_modules"):
            if path and (below / name).is_dir():
                return str((below / name).resolve())
    return None


class NodeServer(ServerProcess):
    """The FluentServer of the Node package `@fluent-org/logger`."""

    def command(self) -> Sequence[str]:
        program = self.directory / "server.js"
        program.write_text(_NODE_SERVER)
        return ["node", str(program), json.dumps(self._node_options())]

    def _node_options(self) -> dict[str, Any]:
        options: dict[str, Any] = {
            "package": node_package(_SERVER_PACKAGE),
            "out": str(self.lines_file),
            "port": self.port.number,
        }
        if self.security is not None:
            options["security"] = {
                "serverHostname": self.security.hostname,
                "sharedKey": self.security.shared_key,
                "authorize": bool(self.security.users),
                "userDict": dict(self.security.users),
            }
        if self.tls is not None:
            client_ca = self.tls.client_ca
            options["tls"] = {
                "cert": str(self.tls.certificate),
                "key": str(self.tls.key),
                "ca": None if client_ca is None else str(client_ca),
            }
        return options


def why_no_node_package(name: str) -> str:
    if shutil.which("node") is None:
        return "there is no node on PATH"
    if node_package(name) is None:
        return f"no {name} below LOGSHIP_TEST_NODE_PATH or NODE_PATH"
    return ""


def why_no_node() -> str:
    return why_no_node_package(_SERVER_PACKAGE)
