"""The backends of an injector in a cluster: the API server's namespaces, bootstrap Secrets and the webhook's CA bundle.

This module is imported only in a cluster: the client of the Kubernetes API costs 12 MB and a quarter of the start time.
"""

from typing import Final

from osm_probes.cluster.bootstrap_secrets import BootstrapSecretStore, CredentialIssuer
from osm_probes.cluster.connection import Cluster
from osm_probes.cluster.namespaces import ApiServerNamespaces
from osm_probes.cluster.webhook_ca_bundle import CaBundleReconciler
from osm_probes.configuration.injector import InjectorConfiguration
from osm_probes.foundation.ipv6 import has_global_ipv6_address
from osm_probes.foundation.latest import Latest
from osm_probes.injector.backends import InjectorBackends
from osm_probes.pki.trust import Trust

# Share of the webhook's timeout. The rest is enough to store a bootstrap, or to deny the pod.
_LOOKUP_SHARE: Final = 0.25


def cluster_backends(cluster: Cluster, configuration: InjectorConfiguration, trust: Latest[Trust]) -> InjectorBackends:
    """The backends of an injector in a cluster."""
    shared = configuration.shared
    reconciler = CaBundleReconciler(cluster.client, name=configuration.webhook_config_name, trust=trust)
    return InjectorBackends(
        ApiServerNamespaces(cluster.source, cluster.client, within=configuration.webhook_timeout * _LOOKUP_SHARE),
        reconciler.bundle,
        bootstrap_store=BootstrapSecretStore(
            cluster.client,
            CredentialIssuer(trust, trust_domain=shared.trust_domain, osm_namespace=shared.osm_namespace),
            # The addresses of a new pod are not known yet. All pods of a cluster have the same address families.
            ipv6=has_global_ipv6_address(),
        ),
        background_work={"bundle": reconciler.run},
    )
