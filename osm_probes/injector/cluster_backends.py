"""The backends of an injector in a cluster: the API server's namespaces, bootstrap Secrets and the webhook's CA bundle.

This module is imported only in a cluster: the client of the Kubernetes API costs 12 MB and a quarter of the start time.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from osm_probes.admission.review import AdmissionRequest
from osm_probes.cluster.api_server_contact import ApiServerContact
from osm_probes.cluster.bootstrap_permissions import BootstrapPermissions
from osm_probes.cluster.bootstrap_rehearsal import BootstrapRehearsal
from osm_probes.cluster.bootstrap_secrets import BootstrapSecretStore, CredentialIssuer
from osm_probes.cluster.connection import Cluster
from osm_probes.cluster.namespaces import ApiServerNamespaces
from osm_probes.cluster.pod_dry_run import PodDryRun
from osm_probes.cluster.webhook_ca_bundle import CaBundleReconciler
from osm_probes.cluster.webhook_monitor import WebhookMonitor
from osm_probes.configuration.injector import InjectorConfiguration
from osm_probes.foundation.ipv6 import has_global_ipv6_address
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.problem import Problem
from osm_probes.injector.backends import InjectorBackends
from osm_probes.kube.client import REQUEST_WITHIN
from osm_probes.pki.trust import Trust

# Share of the webhook's timeout. The rest is enough to store a bootstrap, or to deny the pod.
_LOOKUP_SHARE: Final = 0.25


def cluster_backends(
    cluster: Cluster, configuration: InjectorConfiguration, trust: Latest[Trust], *, port: Callable[[], int]
) -> InjectorBackends:
    """The backends of an injector in a cluster. port: returns the port that the webhook listens on."""
    shared = configuration.shared
    checks = _ClusterChecks(cluster, configuration, trust, port=port)
    return InjectorBackends(
        ApiServerNamespaces(cluster.source, cluster.client, within=configuration.webhook_timeout * _LOOKUP_SHARE),
        checks.reconciler.bundle,
        bootstrap_store=BootstrapSecretStore(
            cluster.client,
            CredentialIssuer(trust, trust_domain=shared.trust_domain, osm_namespace=shared.osm_namespace),
            permissions=checks.permissions,
            rehearsal=checks.rehearsal,
            key=lambda: cluster.uuid_key.value,
            # The addresses of a new pod are not known yet. All pods of a cluster have the same address families.
            ipv6=has_global_ipv6_address(),
        ),
        new_uuid=cluster.uuid_key.new_uuid,
        problems=checks.problems,
        warnings=checks.warnings,
        changes=checks.changes,
        review_arrived=checks.review_arrived,
        background_work=checks.background_work,
    )


class _ClusterChecks:
    """What decides in a cluster whether new pods get sidecars, besides the webhook itself."""

    def __init__(
        self, cluster: Cluster, configuration: InjectorConfiguration, trust: Latest[Trust], *, port: Callable[[], int]
    ) -> None:
        client, mesh, shared = cluster.client, cluster.source.mesh, configuration.shared
        namespace, name = shared.osm_namespace, shared.mesh_name
        self.reconciler = CaBundleReconciler(
            client, name=configuration.webhook_config_name, osm_namespace=namespace, trust=trust
        )
        self.permissions = BootstrapPermissions(client, mesh, mesh_name=name, osm_namespace=namespace)
        self.rehearsal = BootstrapRehearsal(
            client,
            mesh,
            osm_namespace=namespace,
            denied=self.permissions.denied,
            within=min(REQUEST_WITHIN, configuration.answer_within),
        )
        self.contact = ApiServerContact(client, osm_namespace=namespace)
        self._monitor = WebhookMonitor(
            self.reconciler,
            mesh,
            mesh_name=name,
            osm_namespace=namespace,
            timeout=configuration.webhook_timeout,
            port=port,
        )
        self._dry_run = PodDryRun(
            client,
            mesh,
            namespace=configuration.dry_run_namespace,
            entry=self.reconciler.entry,
            within=configuration.webhook_timeout,
            is_ready=lambda: not any(problem.value for name, problem in self.problems.items() if name != "dry-run"),
        )
        self.background_work = {
            "bundle": self.reconciler.run,
            "configuration": self._monitor.run,
            "permissions": self.permissions.run,
            "rehearsal": self.rehearsal.run,
            "contact": self.contact.run,
            **({"dry_run": self._dry_run.run} if configuration.dry_run_namespace else {}),
        }

    @property
    def problems(self) -> Mapping[str, Latest[Problem]]:
        """The checks of readiness that are decided here, by name."""
        return {
            "configuration": self._monitor.problem,
            "bootstraps": self.rehearsal.problem,
            "api-server": self.contact.problem,
            "dry-run": self._dry_run.problem,
        }

    @property
    def changes(self) -> tuple[Latest[Any], ...]:
        """The values on which `warnings` depends."""
        own = (self.permissions.denied, self.rehearsal.refused, self.contact.unknown)
        return (*own, self._monitor.warnings, self._dry_run.warning)

    def review_arrived(self, request: AdmissionRequest) -> None:
        """A review came from the API server."""
        if not request.dry_run:  # a dry run is answered without the API server
            self.contact.review_arrived()
        self._monitor.review_arrived()

    def warnings(self) -> Iterator[Problem]:
        """What a person should know."""
        if denied := self.permissions.denied.value:
            yield Problem(
                f"pods are refused in {len(denied)} of the mesh's namespaces, where bootstraps cannot be stored: "
                f"osm verify control-plane lists them"
            )
        yield from self._monitor.warnings.value
        yield from filter(None, (self.rehearsal.warning, self.contact.unknown.value, self._dry_run.warning.value))
