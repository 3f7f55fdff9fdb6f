"""Helm 3 and Helm 4 with one interface, for tests that install the chart."""

import json
import subprocess
from pathlib import Path
from typing import Any, Protocol

import helm_python

from tests.chart.render import CHART, Values
from tests.kubernetes.apiserver import ApiServer
from tools.helm3 import helm3

_WITHIN = 30


class HelmError(Exception):
    """Helm failed; the message is Helm's own."""


class Helm(Protocol):
    """Installs, upgrades and uninstalls the chart in one cluster."""

    def install(self, name: str, namespace: str, values: Values) -> None:
        """Install the chart with these values. Raises HelmError."""

    def upgrade(self, name: str, namespace: str, values: Values) -> None:
        """Upgrade the release to these values. Raises HelmError."""

    def uninstall(self, name: str, namespace: str) -> None:
        """Uninstall the release. Raises HelmError."""


class Helm4:
    """Helm 4, which uses server-side apply."""

    def __init__(self, cluster: ApiServer) -> None:
        self._cluster = cluster

    def install(self, name: str, namespace: str, values: Values) -> None:
        self._call(namespace, "install", CHART, name, dict(values), timeout=_WITHIN)

    def upgrade(self, name: str, namespace: str, values: Values) -> None:
        self._call(namespace, "upgrade", CHART, name, dict(values), timeout=_WITHIN)

    def uninstall(self, name: str, namespace: str) -> None:
        self._call(namespace, "uninstall", name, timeout=_WITHIN)

    def _call(self, namespace: str, verb: str, *arguments: object, **options: object) -> None:
        with helm_python.Config(kubeconfig_path=self._cluster.kubeconfig, namespace=namespace) as config:
            try:
                getattr(config, verb)(*arguments, **options)
            except helm_python.HelmError as error:
                raise HelmError(str(error)) from error


class Helm3:
    """Helm 3, which uses client-side three-way merges."""

    def __init__(self, cluster: ApiServer, folder: Path) -> None:
        self._cluster = cluster
        self._folder = folder

    def install(self, name: str, namespace: str, values: Values) -> None:
        self._run("install", name, str(CHART), *self._values_file(values), "--namespace", namespace)

    def upgrade(self, name: str, namespace: str, values: Values) -> None:
        self._run("upgrade", name, str(CHART), *self._values_file(values), "--namespace", namespace)

    def uninstall(self, name: str, namespace: str) -> None:
        self._run("uninstall", name, "--namespace", namespace)

    def _values_file(self, values: Values) -> tuple[str, ...]:
        file = self._folder / "values.json"
        file.write_text(json.dumps(values))
        return ("--values", str(file))

    def _run(self, *arguments: str) -> None:
        command = [str(helm3()), *arguments, "--kubeconfig", str(self._cluster.kubeconfig), "--timeout", f"{_WITHIN}s"]
        environment: dict[str, Any] = {"HOME": str(self._folder)}
        process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50, check=False)
        if process.returncode:
            raise HelmError(process.stderr)
