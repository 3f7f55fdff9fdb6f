"""Kubeconfig, or the pod's service account -> a client."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import yaml
from lightkube.config.client_adapter import AsyncClient, ConnectionParams
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.core.exceptions import ConfigError

from osm_probes import __version__
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import UnusableKubeconfigError

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def kubeconfig_of_user(given: str, *, environment: Mapping[str, str], home: Path) -> str:
    """The kubeconfig that a command uses, as kubectl finds it: given, $KUBECONFIG, ~/.kube/config; "" = this pod's.

    Raises UnusableKubeconfigError where none of them is there.
    """
    if given:
        return given
    if named := environment.get("KUBECONFIG", "").strip(os.pathsep):
        return named
    standard = home / ".kube" / "config"
    if standard.is_file():
        return str(standard)
    if (SERVICE_ACCOUNT / "token").exists():
        return ""
    raise UnusableKubeconfigError(f"no cluster to ask: give --kubeconfig, set KUBECONFIG, or have {standard}")


def connect(kubeconfig: str = "", *, agent: str = "osm", context: str | None = None) -> KubernetesClient:
    """A client of the cluster that the file names, or "" of the one whose pod this is. Several files as in $KUBECONFIG.

    `agent` is what the API server's log calls it. Nothing is asked yet; a token that the kubelet renews is read again.
    Raises UnusableKubeconfigError.
    """
    where = (
        f"--kubeconfig {kubeconfig}"
        if kubeconfig
        else "no --kubeconfig (or, on one machine, --mesh-dir) is given, and this is no pod with a service account"
    )
    try:
        chosen = _chosen(kubeconfig, context)
        http = AsyncClient(chosen, ConnectionParams())
    except KeyError as error:
        raise UnusableKubeconfigError(f"{where}: {error} is missing") from error
    except (
        ConfigError,
        msgspec.ValidationError,
        yaml.YAMLError,
        OSError,
        ValueError,
        TypeError,
        AttributeError,
    ) as error:
        raise UnusableKubeconfigError(f"{where}: {' '.join(str(error).split())}") from error
    http.headers["User-Agent"] = f"{agent}/{__version__}"
    return KubernetesClient(http)


def _chosen(kubeconfig: str, context: str | None) -> SingleConfig:
    """The context by name, or the current one, from the first file that has it. Raises ConfigError."""
    if kubeconfig:
        files = [name for name in kubeconfig.split(os.pathsep) if name]
        # As kubectl does, a file that is missing is passed over where there are others.
        found = [name for name in files if Path(name).expanduser().is_file()] or files[:1]
        configs = [KubeConfig.from_file(name) for name in found]
    else:
        configs = [KubeConfig.from_service_account(SERVICE_ACCOUNT)]
    name = context or next((each.current_context for each in configs if each.current_context), None)
    chosen = next((each for each in configs if name in each.contexts), configs[0]).get(name)
    if chosen is None:
        raise ConfigError("no context")
    return chosen
