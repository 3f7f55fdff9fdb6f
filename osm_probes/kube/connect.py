"""Kubeconfig, or the pod's service account -> KubernetesClient."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lightkube.config.client_adapter import AsyncClient, ConnectionParams
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.core.exceptions import ConfigError

from osm_probes import __version__
from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.text import one_line
from osm_probes.foundation.yaml_loader import load_yaml
from osm_probes.foundation.yaml_schema import with_yaml11_booleans
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import UnusableKubeconfigError

_MAX_SIZE: Final = 8 * 1024 * 1024
_LONGEST_REASON: Final = 500
SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


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
        http = AsyncClient(config, ConnectionParams())
    except MemoryError:  # not a fault of the kubeconfig
        raise
    except Exception as error:  # the boundary to a file of others: lightkube raises any exception for a wrong type
        raise UnusableKubeconfigError(f"{source}: {_reason(error)}") from error
    http.headers["User-Agent"] = f"{user_agent}/{__version__}"
    return KubernetesClient(http)


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error} is missing"
    if isinstance(error, (OsmError, ConfigError, OSError, ValueError)):
        return " ".join(one_line(str(error)).split())[:_LONGEST_REASON]
    return f"it is not a kubeconfig: {one_line(str(error))[:_LONGEST_REASON]}"


def _select_config(kubeconfig: str, context: str | None) -> SingleConfig:
    """The named context, or the current one, from the first file that contains it. Raises ConfigError."""
    if kubeconfig:
        files = [name for name in kubeconfig.split(os.pathsep) if name]
        # As kubectl does, skip missing files, but report the first one if all are missing.
        existing = [name for name in files if Path(name).expanduser().is_file()] or files[:1]
        configs = [_read_config(Path(name).expanduser()) for name in existing]
    else:
        configs = [KubeConfig.from_service_account(SERVICE_ACCOUNT)]
    name = context or next((config.current_context for config in configs if config.current_context), None)
    selected = next((config for config in configs if name in config.contexts), configs[0]).get(name)
    if selected is None:
        raise ConfigError("no context")
    return selected


def _read_config(path: Path) -> KubeConfig:
    if not path.is_file():
        raise ConfigError(f"Configuration file {path} not found")
    with path.open("rb") as file:
        content = file.read(_MAX_SIZE + 1)
    if len(content) > _MAX_SIZE:
        raise ConfigError(f"Configuration file {path} is larger than {_MAX_SIZE // 1024**2} MiB")
    value = next((with_yaml11_booleans(document.value) for document in load_yaml(content)), None)
    if not isinstance(value, dict):
        raise ConfigError(f"Configuration file {path} is not a kubeconfig: it must be a map")
    return KubeConfig.from_dict(value, fname=path)
