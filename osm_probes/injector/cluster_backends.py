"""What an injector works with in a cluster: the API server's namespaces, bootstrap Secrets and the webhook's CA bundle.

A module of its own: a client of the Kubernetes API costs 12 MB and a quarter of the start, so it is loaded in a cluster
alone.
"""

from typing import Final

from osm_probes.cluster.bootstrap_secrets import BootstrapStore, Credentials
from osm_probes.cluster.connection import Cluster
from osm_probes.cluster.namespaces import AskedNamespaces
from osm_probes.cluster.webhook_ca_bundle import CaBundleReconciler
from osm_probes.configuration.injector import InjectorConfiguration
from osm_probes.foundation.latest import Latest
from osm_probes.injector.backends import InjectorBackends
from osm_probes.pki.trust import Trust

# Of the time that a review has: what is left is enough to store a bootstrap, or to say no.
_ASKING_SHARE: Final = 0.25


def cluster_backends(cluster: Cluster, configuration: InjectorConfiguration, trust: Latest[Trust]) -> InjectorBackends:
    """What an injector works with in a cluster."""
    shared = configuration.shared
    keeper = CaBundleReconciler(cluster.client, name=configuration.webhook_config_name, trust=trust)
    return InjectorBackends(
        AskedNamespaces(cluster.source, cluster.client, within=configuration.webhook_timeout * _ASKING_SHARE),
        keeper.bundle,
        BootstrapStore(
            cluster.client, Credentials(trust, trust_domain=shared.trust_domain, osm_namespace=shared.osm_namespace)
        ),
        {"bundle": keeper.run},
    )
