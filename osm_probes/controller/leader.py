"""The work that only the leader among the controllers does: bootstrap Secrets and the rotation of the CA."""

import contextlib
import socket
import uuid
from collections.abc import AsyncGenerator, Callable
from typing import Final

from osm_probes.cluster.bootstrap_gc import BootstrapGarbageCollector, ClusterView
from osm_probes.cluster.bootstrap_secrets import CredentialIssuer
from osm_probes.cluster.ca_rotation import CaRotation
from osm_probes.cluster.connection import Cluster
from osm_probes.configuration.shared import SharedConfiguration
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.tasks import lasting_tasks
from osm_probes.kube.leader_election import LeaderElector
from osm_probes.mesh.names import CONTROLLER
from osm_probes.pki.trust import Trust

_LEASE: Final = CONTROLLER


@contextlib.asynccontextmanager
async def leader_tasks(
    cluster: Cluster, shared: SharedConfiguration, trust: Latest[Trust], *, certificate_validity: Callable[[], float]
) -> AsyncGenerator[None, None]:
    """Take part in the leader election during the block, and do the leader's work whenever this replica is the leader.

    certificate_validity: seconds for which workload certificates are valid.
    """
    candidate = f"{shared.pod or socket.gethostname()}-{uuid.uuid4()}"
    elector = LeaderElector(cluster.client, namespace=shared.osm_namespace, name=_LEASE, candidate=candidate)
    garbage_collector = BootstrapGarbageCollector(
        cluster.client,
        is_leader=elector.is_leader,
        cluster=ClusterView(cluster.source.mesh, cluster.source.pods, lambda: cluster.uuid_key.value),
        credentials=CredentialIssuer(trust, trust_domain=shared.trust_domain, osm_namespace=shared.osm_namespace),
    )
    rotation = CaRotation(
        cluster.ca_secret,
        trust,
        is_leader=elector.is_leader,
        distributed_trust=lambda: garbage_collector.distributed_trust,
        certificate_validity=certificate_validity,
    )
    async with lasting_tasks(lease=elector.run, bootstrap_secrets=garbage_collector.run, ca_rotation=rotation.run):
        yield
