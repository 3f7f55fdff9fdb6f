"""Flags -> a connected cluster: API client, Events, watched objects, and the CA from its Secret."""

import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from osm_probes.cluster.ca_secret import CaSecret
from osm_probes.cluster.proxy_uuid_key import ProxyUuidKey
from osm_probes.configuration.shared import SharedConfiguration
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.problem import Problem
from osm_probes.foundation.tasks import lasting_tasks
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.connect import connect
from osm_probes.kube.events import EventRecorder
from osm_probes.kube.informer import Observer
from osm_probes.kube.kind import Kind
from osm_probes.pki.trust import Trust
from osm_probes.sources.kubernetes_source import KubernetesSource
from osm_probes.sources.objects import MeshObject


@dataclass(frozen=True, slots=True)
class Cluster:
    """A connected cluster. events: about the own pod. trust, uuid_key: what the CA Secret says, kept up to date."""

    client: KubernetesClient
    events: EventRecorder
    source: KubernetesSource
    ca_secret: CaSecret
    trust: Latest[Trust]
    uuid_key: ProxyUuidKey


@contextlib.asynccontextmanager
async def connect_cluster(
    shared: SharedConfiguration,
    *,
    component: str,
    kinds: Mapping[Kind, type[MeshObject]],
    observe: Observer,
    on_waiting: Callable[[Problem], None],
) -> AsyncGenerator[Cluster, None]:
    """Connect to the cluster that the flags name, and disconnect at the end of the block.

    component: the program's name, in Events and as the user agent. kinds: the kinds to watch, at once and also while
    there is no CA. observe: counts what the watches deliver. This waits until the CA Secret is loaded and passes each
    reason for waiting to `on_waiting`. Raises CaSecretError and UnusableKubeconfigError.
    """
    namespace = shared.osm_namespace
    async with connect(shared.kubeconfig, user_agent=component) as client:
        source = KubernetesSource(
            client,
            mesh_name=shared.mesh_name,
            osm_namespace=namespace,
            config_name=shared.osm_config_name,
            kinds=kinds,
            observe=observe,
        )
        events = EventRecorder(client, namespace=namespace, pod=shared.pod, component=component)
        secret = CaSecret(
            client, namespace=namespace, name=shared.ca_bundle_secret_name, common_name=shared.ca_common_name
        )
        async with lasting_tasks(source=source.run, events=events.run):
            trust = Latest(await secret.load_or_create(on_waiting=on_waiting))
            uuid_key = ProxyUuidKey(secret)
            async with lasting_tasks(ca_secret=partial(secret.follow, trust), uuid_key=uuid_key.run):
                yield Cluster(client, events, source, secret, trust, uuid_key)
