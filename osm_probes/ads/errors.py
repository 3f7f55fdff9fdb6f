"""The errors of the ADS, and the gRPC status with which each of them ends a stream."""

from osm_probes.foundation.errors import OsmError


class MalformedRequestError(OsmError):
    """A proxy's request violates the protocol. The stream ends with INVALID_ARGUMENT."""


class NotAdmittedError(OsmError):
    """The peer may not have this stream or this resource. The stream ends with PERMISSION_DENIED."""


class MeshUnknownError(NotAdmittedError):
    """The mesh is not read yet, so it is not known whether the peer may have a stream. The peer waits."""


class WrongTypeError(OsmError):
    """A response would not be of its subscription's type: a fault of this program, which ends only this stream."""


class AddressInUseError(OsmError):
    """Another process listens on the port of the ADS."""


class ListenError(OsmError):
    """The ADS cannot listen. The text says on which address, and why."""


class CredentialsError(OsmError):
    """The certificate, the key or the root of the ADS cannot be used."""


class CapacityError(OsmError):
    """The limit of connected proxies is reached. The stream ends with RESOURCE_EXHAUSTED."""


class DrainingError(OsmError):
    """The control plane is shutting down. The stream ends with UNAVAILABLE, and the proxy tries another replica."""
