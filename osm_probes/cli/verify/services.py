"""Check `Services`: the Services through which proxies reach the ADS, and the API server the injector, work."""

from collections.abc import Sequence

import msgspec

from osm_probes.cli.objects import Metadata
from osm_probes.cli.verify.result import REINSTALL, Result, failure, group, success, unknown
from osm_probes.kube.errors import KubernetesError
from osm_probes.mesh.labels import SERVICE_NAME
from osm_probes.mesh.names import CONTROLLER, INJECTOR


class Endpoint(msgspec.Struct, frozen=True):
    """An endpoint of a Service."""

    class Conditions(msgspec.Struct, frozen=True):
        """The conditions of an endpoint. ready: None if unknown."""

        ready: bool | None = None

    conditions: Conditions = msgspec.field(default_factory=Conditions)


class EndpointSlice(msgspec.Struct, frozen=True):
    """Some of the endpoints of a Service."""

    metadata: Metadata
    endpoints: list[Endpoint] | None = None


class Service(msgspec.Struct, frozen=True):
    """A Service."""

    metadata: Metadata


def check_services(
    services: Sequence[Service] | KubernetesError, endpoint_slices: Sequence[EndpointSlice] | KubernetesError
) -> Result:
    """Check that the Services of the control plane exist and have a ready endpoint."""
    name = "Services"
    if isinstance(services, KubernetesError):
        return unknown(name, services.explain("list services"))
    if isinstance(endpoint_slices, KubernetesError):
        return unknown(name, endpoint_slices.explain("list endpointslices"))
    return group(name, [_check_service(app, services, endpoint_slices) for app in (CONTROLLER, INJECTOR)])


def _check_service(app: str, services: Sequence[Service], endpoint_slices: Sequence[EndpointSlice]) -> Result:
    if app not in {service.metadata.name for service in services}:
        return failure(app, "the Service does not exist", suggestions=[REINSTALL])
    endpoints = [
        endpoint
        for endpoint_slice in endpoint_slices
        if endpoint_slice.metadata.labels.get(SERVICE_NAME) == app
        for endpoint in endpoint_slice.endpoints or ()
    ]
    # The API defines that clients treat an unknown readiness as ready.
    ready = any(endpoint.conditions.ready is not False for endpoint in endpoints)
    return success(app) if ready else failure(app, "it has no ready endpoint", suggestions=["check its pods' probes"])
