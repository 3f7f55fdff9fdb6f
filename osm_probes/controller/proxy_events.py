"""A proxy rejects its configuration, or accepts it again -> an Event on its pod, which `kubectl describe pod` shows."""

import contextlib
from collections.abc import AsyncGenerator
from typing import Final

from osm_probes.ads.events import Rejection
from osm_probes.ads.rejections import Rejections
from osm_probes.configuration.shared import SharedConfiguration
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.tasks import lasting_tasks
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.event_object import PodReference, Severity
from osm_probes.kube.events import EventLimits, EventRecorder
from osm_probes.mesh.identity import ProxyName
from osm_probes.mesh.mesh import Mesh
from osm_probes.mesh.names import CONTROLLER
from osm_probes.snapshot.snapshot import short_name

PROXY_EVENTS: Final = EventLimits(interval=60, max_events=256)
"""A bad policy may concern all proxies at once; metrics and `osm proxy list` count those without an Event."""


@contextlib.asynccontextmanager
async def proxy_events(
    client: KubernetesClient, rejections: Rejections, *, mesh: Latest[Mesh | None], shared: SharedConfiguration
) -> AsyncGenerator[None, None]:
    """Write an Event about each rejection, and its end, while the block lasts."""
    recorder = EventRecorder(
        client, namespace=shared.osm_namespace, pod=shared.pod, component=CONTROLLER, limits=PROXY_EVENTS
    )
    rejections.report = ProxyEvents(recorder, mesh).report
    async with lasting_tasks(proxy_events=recorder.run):
        yield


class ProxyEvents:
    """Records Events on the pods of the mesh's proxies."""

    def __init__(self, events: EventRecorder, mesh: Latest[Mesh | None]) -> None:
        self._events = events
        self._mesh = mesh

    def report(self, name: ProxyName, type_url: str, rejection: Rejection | None, /) -> None:
        """Record that the proxy rejects the type now; or, if `rejection` is None, that it no longer does."""
        mesh = self._mesh.value
        proxy = mesh.proxies.get((name.uuid, name.identity)) if mesh else None
        if proxy is None:
            return
        pod, short = PodReference(proxy.namespace, proxy.pod), short_name(type_url)
        if rejection is None:
            message = f"{short}: the sidecar no longer uses an old configuration"
            self._events.record("ConfigurationAccepted", message, severity=Severity.NORMAL, pod=pod)
            return
        since = rejection.since.strftime("%Y-%m-%dT%H:%M:%SZ")
        message = f"{short}: the sidecar uses an old configuration since {since}: {rejection.detail}"
        self._events.record("ConfigurationRejected", message, severity=Severity.WARNING, pod=pod)
