"""The flags and environment variables of osm-injector -> InjectorConfiguration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from osm_probes.configuration.flag_parser import (
    FlagParser,
    add_boolean_flag,
    add_duration_flag,
    parse_dns_label,
    parse_file,
    parse_port,
)
from osm_probes.configuration.shared import (
    SharedConfiguration,
    add_compatibility_flags,
    add_shared_flags,
    read_shared_flags,
    required_with_default,
)
from osm_probes.mesh.ports import WEBHOOK_PORT

_SIDECAR_IMAGE: Final = "envoyproxy/envoy:v1.40.0"
_INIT_IMAGE: Final = "osm-init:latest"
_DESCRIPTION: Final = """\
The mutating webhook of the mesh. It adds an Envoy sidecar to new pods (POST
/mutate-pod-creation on port 9090, TLS) and serves /healthz on the same port.
It serves plain HTTP on port 9091: /healthz, /health/alive, /health/ready,
/metrics and /version."""
_EPILOG: Final = f"""\
environment variables; an empty one counts as unset:
  INJECTOR_POD_NAME                 name of the program's own pod, which gets
                                    its Events (default: none, no Events are
                                    written)
  OSM_DEFAULT_SIDECAR_IMAGE         image of the sidecar
                                    (default: {_SIDECAR_IMAGE})
  OSM_DEFAULT_INIT_CONTAINER_IMAGE  image of the init container
                                    (default: {_INIT_IMAGE})

examples:
  # on the same machine as a controller, which uses port 9091:
  osm-injector --mesh-dir examples/bookstore --http-port 9095
  curl -ik https://localhost:9090/healthz

exit status:
  0  stopped by SIGTERM or SIGINT
  1  could not start; one line on stderr says why
  2  wrong flags"""
_ANSWER_SHARE: Final = 0.9
_PULL_POLICIES: Final = ("", "Always", "IfNotPresent", "Never")


@dataclass(frozen=True, slots=True)
class InjectorConfiguration:
    """The configuration of osm-injector. `webhook_timeout` is in seconds; the images come from the environment.

    client_ca: the file with the CAs of the clients whose reviews are answered; None: those of all clients.
    dry_run_namespace: where a pod is created in a dry run once a minute; "": nowhere.
    """

    shared: SharedConfiguration
    webhook_port: int
    webhook_config_name: str
    webhook_timeout: float
    pull_policy: str
    native_sidecars: bool
    client_ca: Path | None
    dry_run_namespace: str
    sidecar_image: str
    init_image: str

    @property
    def answer_within(self) -> float:
        """Seconds in which a review is answered. At its timeout the API server stops reading, even an error."""
        return self.webhook_timeout * _ANSWER_SHARE


def parse_injector(argv: Sequence[str], environment: Mapping[str, str]) -> InjectorConfiguration:
    """Read flags and environment. Raises WrongFlagsError, after the usage is printed on stderr."""
    parser = FlagParser("osm-injector", _DESCRIPTION, _EPILOG)
    add_shared_flags(parser)
    _add_webhook_flags(parser)
    add_compatibility_flags(parser)
    arguments = parser.parse(argv)
    return InjectorConfiguration(
        read_shared_flags(parser, arguments, pod=environment.get("INJECTOR_POD_NAME", "")),
        arguments.webhook_port,
        arguments.webhook_config_name,
        arguments.webhook_timeout,
        arguments.osm_container_pull_policy,
        arguments.native_sidecars,
        arguments.client_ca,
        arguments.dry_run_namespace,
        environment.get("OSM_DEFAULT_SIDECAR_IMAGE") or _SIDECAR_IMAGE,
        environment.get("OSM_DEFAULT_INIT_CONTAINER_IMAGE") or _INIT_IMAGE,
    )


def _add_webhook_flags(parser: FlagParser) -> None:
    webhook = parser.add_argument_group("webhook")
    webhook.add_argument(
        "--webhook-port",
        type=parse_port,
        default=WEBHOOK_PORT,
        metavar="PORT",
        help="port to which the API server sends admission requests (default: %(default)s)",
    )
    webhook.add_argument(
        "--webhook-config-name",
        metavar="NAME",
        help=f"name of the MutatingWebhookConfiguration {required_with_default('webhook_config_name')}",
    )
    add_duration_flag(
        webhook,
        "--webhook-timeout",
        default=20.0,
        help_text="timeoutSeconds of the MutatingWebhookConfiguration",
    )
    webhook.add_argument(
        "--osm-container-pull-policy",
        choices=_PULL_POLICIES,
        default="",
        metavar="POLICY",
        help="imagePullPolicy of injected containers: Always, IfNotPresent or Never (default: Kubernetes decides)",
    )
    add_boolean_flag(
        webhook,
        "--native-sidecars",
        default=False,
        help_text="inject Envoy as an init container that keeps running; needs Kubernetes 1.29 or later",
    )
    webhook.add_argument(
        "--client-ca",
        type=parse_file,
        metavar="FILE",
        help="file with CA certificates in PEM: a review is answered only if its client, the API server, has a "
        "certificate of one of them; /healthz needs none (default: all reviews are answered)",
    )
    webhook.add_argument(
        "--dry-run-namespace",
        type=_parse_optional_namespace,
        default="",
        metavar="NAME",
        help="namespace of the mesh in which a pod is created once a minute in a dry run, to see that it gets a "
        "sidecar; needs the permission to create pods there (default: none)",
    )


def _parse_optional_namespace(text: str) -> str:
    return parse_dns_label(text) if text else ""
