"""A bootstrap -> a running Envoy, and queries to its admin interface."""

import contextlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from demo.namespaces import Namespace
from demo.processes import Process, eventually, running

USER: Final = 1500
_ADMIN: Final = "http://127.0.0.1:15000"
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A running Envoy and the network namespace of its pod."""

    pod: Namespace
    process: Process

    def admin(self, path: str, *, method: str = "GET") -> str:
        """The text of an admin page. Raises OSError while Envoy is not listening."""
        return self.pod.request(f"{_ADMIN}/{path}", method=method).text

    def stats(self, pattern: str) -> dict[str, int]:
        """The counters and gauges whose names match the regular expression."""
        page = json.loads(self.admin(f"stats?format=json&filter={pattern}"))
        return {stat["name"]: stat["value"] for stat in page["stats"] if "value" in stat}

    def stat(self, name: str) -> int:
        """The value of a counter or gauge; 0 if it does not exist."""
        return self.stats(f"^{re.escape(name)}$").get(name, 0)

    def configuration(self) -> Json:
        """The configuration dump by the last word of each section's type, such as ListenersConfigDump."""
        page = json.loads(self.admin("config_dump?include_eds"))
        return {part["@type"].rpartition(".")[2]: part for part in page["configs"]}

    def endpoints(self, cluster: str) -> set[str]:
        """The endpoints of a cluster, as `address:port`."""
        page = json.loads(self.admin("clusters?format=json"))
        statuses = [status for status in page["cluster_statuses"] if status["name"] == cluster]
        hosts = [host["address"]["socket_address"] for status in statuses for host in status.get("host_statuses", ())]
        return {f"{host['address']}:{host['port_value']}" for host in hosts}

    def serials(self) -> set[str]:
        """The serial numbers of the certificates in use, without the CA certificates."""
        page = json.loads(self.admin("certs"))
        return {
            certificate["serial_number"]
            for entry in page["certificates"]
            for certificate in entry.get("cert_chain", ())
        }

    def until_live(self, *, within: float = 15.0) -> None:
        """Wait until Envoy has its initial configuration. Raises DemoError."""
        eventually(
            lambda: self.admin("server_info") and json.loads(self.admin("server_info")).get("state") == "LIVE",
            what=f"{self.pod.name}: Envoy has its initial configuration",
            within=within,
            process=self.process,
        )


@contextlib.contextmanager
def sidecar(pod: Namespace, *, envoy: Path, bootstrap: Json, folder: Path) -> Iterator[Sidecar]:
    """An Envoy in a pod. It runs as its own user, whose connections the iptables rules do not redirect."""
    path = folder / f"{pod.name}.json"
    _write_for(USER, path, json.dumps(bootstrap))
    flags = ("--config-path", str(path), "--disable-hot-restart", "--concurrency", "1", "--log-level", "info")
    command = pod.command_as(USER, str(envoy), *flags)
    with running(command, log=folder / f"{pod.name}.log") as process:
        yield Sidecar(pod, process)


def _write_for(uid: int, path: Path, text: str) -> None:
    # Only its user may read it: it contains a private key.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o400)
    os.fchown(descriptor, uid, uid)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
