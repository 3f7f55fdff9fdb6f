"""The flags and environment variables of osm-controller -> ControllerConfiguration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from osm_probes.configuration.flag_parser import (
    FlagParser,
    add_boolean_flag,
    add_duration_flag,
    parse_count,
    parse_port,
)
from osm_probes.configuration.shared import (
    SharedConfiguration,
    add_compatibility_flags,
    add_shared_flags,
    read_shared_flags,
)
from osm_probes.mesh.ports import ADS_PORT, DEBUG_PORT

_NO_ENVIRONMENT: Final[Mapping[str, str]] = MappingProxyType({})
_DESCRIPTION: Final = """\
The control plane of the mesh. It configures Envoy sidecars over gRPC with mTLS
(ADS, port 15128) and serves plain HTTP on port 9091: /health/alive,
/health/ready, /metrics, /version and /smi/version. Pages with names of the
mesh's objects, such as /debug/proxies, are on port 9092 of loopback alone."""
_EPILOG: Final = """\
environment variables:
  CONTROLLER_POD_NAME  name of the program's own pod, which gets its Events
                       (default: none, no Events are written)

examples:
  # on one machine, with the same ports as in a cluster:
  osm-controller --mesh-dir examples/bookstore
  # on any free ports; the log says which:
  osm-controller --mesh-dir examples/bookstore --ads-port 0 --http-port 0 \\
    --debug-port 0
  curl -i localhost:9091/health/alive

exit status:
  0  stopped by SIGTERM or SIGINT
  1  could not start; one line on stderr says why
  2  wrong flags"""


@dataclass(frozen=True, slots=True)
class ControllerConfiguration:
    """The configuration of osm-controller.

    `max_data_plane_connections`: 0 means the MeshConfig's value. `updates_limit`: in seconds.
    """

    shared: SharedConfiguration
    ads_port: int
    max_data_plane_connections: int
    updates_limit: float


def parse_controller(argv: Sequence[str], environment: Mapping[str, str] = _NO_ENVIRONMENT) -> ControllerConfiguration:
    """Read flags and environment. Raises WrongFlagsError, after the usage is printed on stderr."""
    parser = FlagParser("osm-controller", _DESCRIPTION, _EPILOG)
    add_shared_flags(parser)
    ads = parser.add_argument_group("ADS")
    ads.add_argument(
        "--ads-port",
        type=parse_port,
        default=ADS_PORT,
        metavar="PORT",
        help="port to which proxies connect (default: %(default)s)",
    )
    ads.add_argument(
        "--max-data-plane-connections",
        type=parse_count,
        default=0,
        metavar="N",
        help="largest number of connected proxies; 0 means the MeshConfig's limit (default: %(default)s)",
    )
    ads.add_argument(
        "--debug-port",
        type=parse_port,
        default=DEBUG_PORT,
        metavar="PORT",
        help="port of /debug/proxies, on loopback alone; a taken port is only a warning (default: %(default)s)",
    )
    add_duration_flag(
        ads,
        "--updates-limit",
        default=180,
        help_text="not ready if a change has not reached the proxies after this time; at least 1s",
    )
    compatibility = add_compatibility_flags(parser)
    compatibility.add_argument(
        "--osm-service-account", default="", metavar="NAME", help="service account of the pod (default: empty)"
    )
    compatibility.add_argument(
        "--validator-webhook-config",
        default="",
        metavar="NAME",
        help="there is no validating webhook (default: empty)",
    )
    add_boolean_flag(
        compatibility,
        "--validate-traffic-target",
        default=True,
        help_text="an invalid TrafficTarget is always logged and ignored",
    )
    arguments = parser.parse(argv)
    shared = read_shared_flags(parser, arguments, pod=environment.get("CONTROLLER_POD_NAME", ""))
    if arguments.updates_limit < 1:
        parser.error("--updates-limit must be at least 1s")
    return ControllerConfiguration(
        shared, arguments.ads_port, arguments.max_data_plane_connections, arguments.updates_limit
    )
