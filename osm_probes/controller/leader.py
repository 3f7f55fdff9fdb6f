"""What the leader among the controllers does for the cluster: bootstrap Secrets and the rotation of the CA."""

import contextlib
import socket
import uuid
from collections.abc import AsyncGenerator, Callable
from typing import Final

from osm_probes.cluster.bootstrap_gc import BootstrapGarbageCollector
from osm_probes.cluster.bootstrap_secrets import Credentials
from osm_probes.cluster.ca_rotation import CaRotation
from osm_probes.cluster.connection import Cluster
from osm_probes.configuration.shared import Shared
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.leader_election import LeaderElector
from osm_probes.pki.trust import Trust

_LEASE: Final = "osm-controller"


@contextlib.asynccontextmanager
async def leader_tasks(
    cluster: Cluster, shared: Shared, trust: Latest[Trust], *, certificate_validity: Callable[[], float]
) -> AsyncGenerator[None, None]:
    """What one of all controllers does for the cluster, while the block lasts. certificate_validity: in seconds."""
    candidate = f"{shared.pod or socket.gethostname()}-{uuid.uuid4()}"
    elector = LeaderElector(cluster.client, namespace=shared.osm_namespace, name=_LEASE, candidate=candidate)
    leads = elector.holds
    credentials = Credentials(trust, trust_domain=shared.trust_domain, osm_namespace=shared.osm_namespace)
    janitor = BootstrapGarbageCollector(cluster.client, leads=leads, pods=cluster.source.pods, credentials=credentials)
    rotation = CaRotation(
        cluster.ca_secret, trust, leads=leads, refreshed=lambda: janitor.refreshed, outlived=certificate_validity
    )
    async with background_tasks(lease=elector.run(), janitor=janitor.run(), rotation=rotation.run()):
        yield
