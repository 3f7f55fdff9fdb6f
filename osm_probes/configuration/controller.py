"""Configuration: what osm-controller is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from osm_probes.configuration.flags import FlagParser, add_switch, port, whole
from osm_probes.configuration.shared import Shared, add_accepted_flags, add_shared_flags, shared_values
from osm_probes.mesh.ports import ADS_PORT

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_DESCRIPTION: Final = """\
The control plane of the mesh: configures Envoy sidecars over gRPC (ADS, port 15128, mTLS) and answers
/health/alive, /health/ready, /metrics, /version and /smi/version on port 9091 in plain HTTP."""
_EPILOG: Final = """\
examples:
  osm-controller --mesh-dir examples/bookstore                  # on one machine, all ports as in a cluster
  osm-controller --mesh-dir mesh --ads-port 0 --http-port 0     # any free ports; see the log for which
  curl -i localhost:9091/health/alive

exit status: 0 after SIGTERM or SIGINT, 1 could not start (one line says why), 2 wrong flags"""


@dataclass(frozen=True, slots=True)
class ControllerConfiguration:
    """All that osm-controller is told."""

    shared: Shared
    ads_port: int
    max_data_plane_connections: int


def parse_controller(argv: Sequence[str], environment: Mapping[str, str] = _NOTHING) -> ControllerConfiguration:
    """Read flags and environment. Wrong ones end the process with status 2 and the usage on stderr."""
    parser = FlagParser("osm-controller", _DESCRIPTION, _EPILOG)
    add_shared_flags(parser)
    ads = parser.add_argument_group("the ADS")
    ads.add_argument(
        "--ads-port", type=port, default=ADS_PORT, metavar="PORT", help="where proxies connect (%(default)s)"
    )
    ads.add_argument(
        "--max-data-plane-connections",
        type=whole,
        default=0,
        metavar="N",
        help="proxies served at most (0: as MeshConfig)",
    )
    accepted = add_accepted_flags(parser)
    accepted.add_argument("--osm-service-account", default="", metavar="NAME")
    accepted.add_argument(
        "--validator-webhook-config", default="", metavar="NAME", help="there is no validating webhook"
    )
    add_switch(
        accepted, "--validate-traffic-target", default=True, help_text="a wrong one has no effect, and is logged"
    )
    given = parser.parse_args(argv)
    shared = shared_values(parser, given, pod=environment.get("CONTROLLER_POD_NAME", ""))
    return ControllerConfiguration(shared, given.ads_port, given.max_data_plane_connections)
