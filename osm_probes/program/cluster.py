"""A cluster, as far as a program has to do with it."""

from collections.abc import Callable
from dataclasses import dataclass

from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.events import EventRecorder
from osm_probes.probes.link import Transition
from osm_probes.program.authority_secret import AuthoritySecret
from osm_probes.program.transitions import telling
from osm_probes.sources.kubernetes import KubernetesSource


@dataclass(frozen=True, slots=True)
class Cluster:
    """The API server, the Events of the own pod, what is known of the cluster's objects, and the authority's Secret."""

    client: KubernetesClient
    events: EventRecorder
    source: KubernetesSource
    authority: AuthoritySecret

    def telling(self) -> Callable[[Transition], None]:
        """What makes each transition of a probe an Event."""
        return telling(self.events)
