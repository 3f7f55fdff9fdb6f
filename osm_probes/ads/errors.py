"""What can go wrong between the ADS and a proxy, as facts."""

from osm_probes.foundation.errors import OsmError


class MalformedRequestError(OsmError):
    """A proxy's request breaks the protocol; its stream ends with INVALID_ARGUMENT."""


class NotAdmittedError(OsmError):
    """The peer is not who may ask for this; its stream ends with PERMISSION_DENIED."""


class AddressInUseError(OsmError):
    """Another process has the port of the ADS."""


class ListenError(OsmError):
    """The ADS cannot listen; the text says where and why."""


class CredentialsError(OsmError):
    """The ADS's certificate, key or root cannot be used."""


class CapacityError(OsmError):
    """No more proxies are served; the stream ends with RESOURCE_EXHAUSTED."""


class DrainingError(OsmError):
    """The control plane is stopping; the stream ends with UNAVAILABLE, and the proxy tries another one."""
