"""Flags -> a connected cluster: its API server, its objects, being watched, and the CA in its Secret."""

import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass

from osm_probes.cluster.ca_secret import AuthoritySecret
from osm_probes.configuration.shared import Shared
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.connect import connect
from osm_probes.kube.events import EventRecorder
from osm_probes.kube.informer import Observer
from osm_probes.kube.kind import Kind
from osm_probes.pki.trust import Trust
from osm_probes.sources.kubernetes import KubernetesSource
from osm_probes.sources.objects import MeshObject


@dataclass(frozen=True, slots=True)
class Cluster:
    """The API server, the Events of the own pod, the cluster's objects, the CA's Secret and the trust that it says."""

    client: KubernetesClient
    events: EventRecorder
    source: KubernetesSource
    ca_secret: AuthoritySecret
    trust: Latest[Trust]


@contextlib.asynccontextmanager
async def connect_cluster(
    shared: Shared,
    *,
    agent: str,
    kinds: Mapping[Kind, type[MeshObject]],
    observe: Observer,
    waiting: Callable[[str], None],
) -> AsyncGenerator[Cluster, None]:
    """The cluster that the flags name. Its objects are watched from the start on, before there is a CA.

    agent: the user agent of requests. kinds: what is watched. observe: told of what watches bring. This waits until the
    API server has given the CA's Secret, and tells `waiting` why it waits. Raises AuthoritySecretError and
    UnusableKubeconfigError.
    """
    namespace = shared.osm_namespace
    async with connect(shared.kubeconfig, agent=agent) as client:
        source = KubernetesSource(
            client,
            mesh_name=shared.mesh_name,
            osm_namespace=namespace,
            config_name=shared.osm_config_name,
            kinds=kinds,
            observe=observe,
        )
        events = EventRecorder(client, namespace=namespace, pod=shared.pod, component=agent)
        secret = AuthoritySecret(
            client, namespace=namespace, name=shared.ca_bundle_secret_name, common_name=shared.ca_common_name
        )
        async with background_tasks(source=source.run(), events=events.run()):
            trust = Latest(await secret.load_or_create(waiting=waiting))
            async with background_tasks(keep=secret.keep(trust)):
                yield Cluster(client, events, source, secret, trust)
