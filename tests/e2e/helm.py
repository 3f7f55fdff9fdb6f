"""Helm 4 as a command: `python -m tests.e2e.helm KUBECONFIG install|upgrade VALUES` or `… test|uninstall`.

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


def main(kubeconfig: str, act: str, values: str = "{}") -> None:
    """Install, upgrade, test or uninstall the release. Raises helm_python.HelmError."""
    with helm_python.Config(namespace=NAMESPACE, kubeconfig_path=kubeconfig) as helm:
        match act:
            case "install":
                helm.install(CHART, RELEASE, json.loads(values), namespace=NAMESPACE)
            case "upgrade":
                helm.upgrade(CHART, RELEASE, json.loads(values), namespace=NAMESPACE)
            case "test":
                helm.test(RELEASE)
            case _:
                helm.uninstall(RELEASE)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except helm_python.HelmError as error:
        sys.exit(str(error))
