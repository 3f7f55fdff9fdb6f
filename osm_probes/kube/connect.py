"""Kubeconfig, or the pod's service account -> KubernetesClient."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx2
import msgspec
import yaml
from lightkube.config.client_adapter import AsyncClient, ConnectionParams
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.core.exceptions import ConfigError

from osm_probes import __version__
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import UnusableKubeconfigError

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def _limits() -> httpx2.Limits:
    # Each watch takes a connection, and there is one for each namespace of the mesh. With the default of 100
    # connections, all requests of a large mesh would wait for ever.
    return httpx2.Limits(max_connections=None, max_keepalive_connections=20)


@dataclass
class _Parameters(ConnectionParams):
    """The library passes every field to its HTTP client."""

    limits: httpx2.Limits = field(default_factory=_limits)


def find_kubeconfig(flag: str, *, environment: Mapping[str, str], home: Path) -> str:
    """The kubeconfig of a command, chosen as kubectl does: the flag, $KUBECONFIG, then ~/.kube/config.

    "" means the service account of this pod. Raises UnusableKubeconfigError if there is none of them.
    """
    if flag:
        return flag
    if paths := environment.get("KUBECONFIG", "").strip(os.pathsep):
        return paths
    standard = home / ".kube" / "config"
    if standard.is_file():
        return str(standard)
    if (SERVICE_ACCOUNT / "token").exists():
        return ""
    raise UnusableKubeconfigError(f"no cluster is configured: give --kubeconfig, set KUBECONFIG, or create {standard}")


def connect(kubeconfig: str = "", *, user_agent: str = "osm", context: str | None = None) -> KubernetesClient:
    """A client for the cluster in `kubeconfig`; it sends no request yet. Raises UnusableKubeconfigError.

    kubeconfig: one file, or several as in $KUBECONFIG; "" is this pod's service account, whose token is read again when
    the kubelet renews it. user_agent: the program's name in the API server's log.
    """
    source = (
        f"--kubeconfig {kubeconfig}"
        if kubeconfig
        else "neither --kubeconfig nor --mesh-dir (for one machine) is given, and this is no pod with a service account"
    )
    try:
        config = _select_config(kubeconfig, context)
        http = AsyncClient(config, _Parameters())
    except KeyError as error:
        raise UnusableKubeconfigError(f"{source}: {error} is missing") from error
    except (
        ConfigError,
        msgspec.ValidationError,
        yaml.YAMLError,
        OSError,
        ValueError,
        TypeError,
        AttributeError,
    ) as error:
        raise UnusableKubeconfigError(f"{source}: {' '.join(str(error).split())}") from error
    http.headers["User-Agent"] = f"{user_agent}/{__version__}"
    return KubernetesClient(http)


def _select_config(kubeconfig: str, context: str | None) -> SingleConfig:
    """The named context, or the current one, from the first file that contains it. Raises ConfigError."""
    if kubeconfig:
        files = [name for name in kubeconfig.split(os.pathsep) if name]
        # As kubectl does, skip missing files, but report the first one if all are missing.
        existing = [name for name in files if Path(name).expanduser().is_file()] or files[:1]
        configs = [KubeConfig.from_file(name) for name in existing]
    else:
        configs = [KubeConfig.from_service_account(SERVICE_ACCOUNT)]
    name = context or next((config.current_context for config in configs if config.current_context), None)
    selected = next((config for config in configs if name in config.contexts), configs[0]).get(name)
    if selected is None:
        raise ConfigError("no context")
    return selected
