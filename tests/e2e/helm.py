"""Helm 4, in a process of its own: `python -m tests.e2e.helm KUBECONFIG install|upgrade VALUES` or `… test|uninstall`.

As a library it would dial from this process's network, which is not the node's.
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
    """Do one thing with the release; says what went wrong in Helm's words."""
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
