"""Configuration: what osm-injector is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from osm_probes.configuration.flags import FlagParser, add_switch, port, seconds
from osm_probes.configuration.shared import Shared, add_accepted_flags, add_shared_flags, shared_values
from osm_probes.mesh.ports import WEBHOOK_PORT

_DESCRIPTION: Final = """\
The webhook of the mesh: adds an Envoy sidecar to pods as they are created (POST /mutate-pod-creation on port
9090, TLS), answers /healthz there, and /healthz, /health/alive, /health/ready, /metrics and /version on port 9091
in plain HTTP."""
_EPILOG: Final = """\
examples:
  osm-injector --mesh-dir examples/bookstore --http-port 9095   # beside a controller on the same machine
  curl -ik https://localhost:9090/healthz

exit status: 0 after SIGTERM or SIGINT, 1 could not start (one line says why), 2 wrong flags"""
_PULL_POLICIES: Final = ("", "Always", "IfNotPresent", "Never")


@dataclass(frozen=True, slots=True)
class InjectorConfiguration:
    """All that osm-injector is told. Images come from the environment, as upstream's charts give them."""

    shared: Shared
    webhook_port: int
    webhook_config_name: str
    webhook_timeout: float
    pull_policy: str
    native_sidecars: bool
    sidecar_image: str
    init_image: str


def parse_injector(argv: Sequence[str], environment: Mapping[str, str]) -> InjectorConfiguration:
    """Read flags and environment. Wrong flags end the process with status 2 and the usage on stderr."""
    parser = FlagParser("osm-injector", _DESCRIPTION, _EPILOG)
    add_shared_flags(parser)
    webhook = parser.add_argument_group("the webhook")
    webhook.add_argument(
        "--webhook-port",
        type=port,
        default=WEBHOOK_PORT,
        metavar="PORT",
        help="where the API server asks (%(default)s)",
    )
    webhook.add_argument("--webhook-config-name", metavar="NAME", help="name of the MutatingWebhookConfiguration")
    webhook.add_argument(
        "--webhook-timeout", type=seconds, default=20.0, metavar="TIME", help="as the webhook configuration (20)"
    )
    webhook.add_argument(
        "--osm-container-pull-policy",
        choices=_PULL_POLICIES,
        default="",
        metavar="POLICY",
        help="of injected containers",
    )
    native = "Envoy as an init container that keeps running, for Kubernetes 1.29 and later"
    add_switch(webhook, "--native-sidecars", default=False, help_text=native)
    add_accepted_flags(parser)
    given = parser.parse_args(argv)
    return InjectorConfiguration(
        shared_values(parser, given, pod=environment.get("INJECTOR_POD_NAME", "")),
        given.webhook_port,
        given.webhook_config_name,
        given.webhook_timeout,
        given.osm_container_pull_policy,
        given.native_sidecars,
        environment.get("OSM_DEFAULT_SIDECAR_IMAGE", "envoyproxy/envoy:v1.40.0"),
        environment.get("OSM_DEFAULT_INIT_CONTAINER_IMAGE", "osm-init:latest"),
    )
