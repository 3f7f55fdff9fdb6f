"""Helm 4 as a command: `python -m tests.e2e.helm KUBECONFIG NAMESPACE install|upgrade VALUES CHART`, or
`… test|rollback|uninstall`; a rollback is to the revision before the current one.

It runs as a separate process in the node's network namespace; the library would use this process's network.
"""

import json
import sys
from pathlib import Path
from typing import Final

import helm_python

CHART: Final = Path(__file__).parents[2] / "charts" / "osm"
RELEASE: Final = "osm"
NAMESPACE: Final = "osm-system"


def main(kubeconfig: str, namespace: str, act: str, values: str = "{}", chart: str = "") -> None:
    """Install, upgrade, test, roll back or uninstall the release. Raises helm_python.HelmError."""
    with helm_python.Config(namespace=namespace, kubeconfig_path=kubeconfig) as helm:
        match act:
            case "install":
                helm.install(chart, RELEASE, json.loads(values), namespace=namespace)
            case "upgrade":
                helm.upgrade(chart, RELEASE, json.loads(values), namespace=namespace)
            case "test":
                helm.test(RELEASE)
            case "rollback":
                helm.rollback(RELEASE)
            case _:
                helm.uninstall(RELEASE)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except helm_python.HelmError as error:
        sys.exit(str(error))
