"""What programs do in a cluster: find their world, do their shared duties, get at what an injector works with."""

import contextlib
import socket
import uuid
from collections.abc import AsyncGenerator, Callable
from typing import Final

from osm_probes.configuration.injector import InjectorConfiguration
from osm_probes.configuration.shared import Shared
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.tasks import beside
from osm_probes.kube.connect import connect
from osm_probes.kube.events import EventRecorder
from osm_probes.kube.lease import Leadership
from osm_probes.pki.trust import Trust
from osm_probes.probes.program_metrics import ProgramMetrics
from osm_probes.program.authority_secret import AuthoritySecret
from osm_probes.program.bootstraps import BootstrapStore, Credentials
from osm_probes.program.bundle import BundleKeeper
from osm_probes.program.cluster import Cluster
from osm_probes.program.enrolment import AskedNamespaces
from osm_probes.program.janitor import Janitor
from osm_probes.program.means import Means
from osm_probes.program.rotation import Rotation
from osm_probes.program.world import Reads, World, authority_name
from osm_probes.sources.kubernetes import NAMESPACES_ALONE, WHOLE_MESH, KubernetesSource

_KINDS: Final = {Reads.WHOLE_MESH: WHOLE_MESH, Reads.NAMESPACES: NAMESPACES_ALONE}
# Of the time that a review has: what is left is enough to store a bootstrap, or to say no.
_ASKING_SHARE: Final = 0.25
_LEASE: Final = "osm-controller"


@contextlib.asynccontextmanager
async def found_cluster(
    shared: Shared, *, agent: str, reads: Reads, metrics: ProgramMetrics, waiting: Callable[[str], None]
) -> AsyncGenerator[World, None]:
    """As `found_world`, in a cluster. Its objects are watched from the start on, before there is an authority."""
    namespace = shared.osm_namespace
    async with connect(shared.kubeconfig, agent=agent) as client:
        source = KubernetesSource(
            client,
            mesh_name=shared.mesh_name,
            osm_namespace=namespace,
            config_name=shared.osm_config_name,
            kinds=_KINDS[reads],
            observe=metrics.watched,
        )
        metrics.watch_ages = source.ages
        events = EventRecorder(client, namespace=namespace, pod=shared.pod, component=agent)
        secret = AuthoritySecret(
            client, namespace=namespace, name=shared.ca_bundle_secret_name, common_name=authority_name(shared)
        )
        async with beside(source=source.run(), events=events.run()):
            trust = Latest(await secret.load_or_create(waiting=waiting))
            async with beside(keep=secret.keep(trust)):
                yield World(trust, source, Cluster(client, events, source, secret), secret.problem)


def injection_means(cluster: Cluster, configuration: InjectorConfiguration, trust: Latest[Trust]) -> Means:
    """What an injector works with in a cluster."""
    shared = configuration.shared
    keeper = BundleKeeper(cluster.client, name=configuration.webhook_config_name, trust=trust)
    return Means(
        AskedNamespaces(cluster.source, cluster.client, within=configuration.webhook_timeout * _ASKING_SHARE),
        keeper.bundle,
        BootstrapStore(cluster.client, _credentials(shared, trust)),
        {"bundle": keeper.run},
    )


def _credentials(shared: Shared, trust: Latest[Trust]) -> Credentials:
    return Credentials(trust, trust_domain=shared.trust_domain, osm_namespace=shared.osm_namespace)


@contextlib.asynccontextmanager
async def shared_duties(
    cluster: Cluster, shared: Shared, trust: Latest[Trust], *, certificate_validity: Callable[[], float]
) -> AsyncGenerator[None, None]:
    """What one of all controllers does for the cluster, while the block lasts. certificate_validity: in seconds."""
    candidate = f"{shared.pod or socket.gethostname()}-{uuid.uuid4()}"
    leadership = Leadership(cluster.client, namespace=shared.osm_namespace, name=_LEASE, candidate=candidate)
    leads = leadership.holds
    credentials = _credentials(shared, trust)
    janitor = Janitor(cluster.client, leads=leads, pods=cluster.source.pods, credentials=credentials)
    rotation = Rotation(
        cluster.authority, trust, leads=leads, refreshed=lambda: janitor.refreshed, outlived=certificate_validity
    )
    async with beside(lease=leadership.run(), janitor=janitor.run(), rotation=rotation.run()):
        yield
