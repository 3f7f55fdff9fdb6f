"""Kubeconfig, or the pod's service account -> a client."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import yaml
from lightkube.config.client_adapter import AsyncClient, ConnectionParams
from lightkube.config.kubeconfig import KubeConfig
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
    named = [name for name in environment.get("KUBECONFIG", "").split(os.pathsep) if name]
    if len(named) > 1:
        raise UnusableKubeconfigError(f"KUBECONFIG names {len(named)} files: choose one with --kubeconfig")
    if named:
        return named[0]
    standard = home / ".kube" / "config"
    if standard.is_file():
        return str(standard)
    if (SERVICE_ACCOUNT / "token").exists():
        return ""
    raise UnusableKubeconfigError(f"no cluster to ask: give --kubeconfig, set KUBECONFIG, or have {standard}")


def connect(kubeconfig: str = "", *, agent: str = "osm", context: str | None = None) -> KubernetesClient:
    """A client of the cluster that the file names, or "" of the one whose pod this is.

    `agent` is what the API server's log calls it. Nothing is asked yet; a token that the kubelet renews is read again.
    Raises UnusableKubeconfigError.
    """
    where = (
        f"--kubeconfig {kubeconfig}"
        if kubeconfig
        else "no --kubeconfig (or, on one machine, --mesh-dir) is given, and this is no pod with a service account"
    )
    try:
        config = KubeConfig.from_file(kubeconfig) if kubeconfig else KubeConfig.from_service_account(SERVICE_ACCOUNT)
        chosen = config.get(context)
        if chosen is None:
            raise ConfigError("no context")
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
