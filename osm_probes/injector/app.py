"""osm-injector: CA, namespaces and webhook put together; what its judge is told; the stop in reverse order."""

import asyncio
import secrets
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from msgspec import structs

from osm_probes.admission.canary_review import canary_review
from osm_probes.admission.client_ca import follow_client_ca, load_client_ca
from osm_probes.admission.handler import WebhookHandler
from osm_probes.admission.options import InjectionOptions
from osm_probes.admission.pod import SIDECAR_NAME, bootstrap_secret_name
from osm_probes.admission.server import WebhookServer
from osm_probes.admission.sidecar import INIT_NAME
from osm_probes.admission.tls import server_context
from osm_probes.admission.webhook import Webhook
from osm_probes.canary.webhook import check_bundle, check_certificate, check_review
from osm_probes.configuration.injector import InjectorConfiguration
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.listen import listen
from osm_probes.foundation.problem import Problem
from osm_probes.foundation.tasks import Work, lasting_tasks
from osm_probes.health.checks import UnhealthyError, coalesced
from osm_probes.health.judge_state import ExpectedSidecar, WebhookCanary
from osm_probes.health.lifecycle import Lifecycle, Phase
from osm_probes.injector.backends import InjectorBackends, standalone_backends
from osm_probes.injector.metrics import InjectorMetrics, InjectorReviews
from osm_probes.mesh.names import INJECTOR, webhook_server_name
from osm_probes.mesh.ports import REVIEW_PATH
from osm_probes.mesh.settings import Settings
from osm_probes.pki.certificate import Certificate
from osm_probes.pki.certificate_store import CertificateStore
from osm_probes.runtime.environment import Environment, Reads, load_environment
from osm_probes.runtime.process import Process

_KEEP: Final = 0.25


async def serve_injector(configuration: InjectorConfiguration, process: Process) -> None:
    """Serve until a stop is asked for, then drain. Raises OsmError if it cannot start."""
    metrics = InjectorMetrics()
    async with load_environment(
        configuration.shared,
        agent=INJECTOR,
        reads=Reads.NAMESPACES,
        metrics=metrics,
        waiting=process.set_warnings,
    ) as environment:
        await InjectorApp(configuration, process, environment=environment, metrics=metrics).run()


class InjectorApp:
    """The parts of an injector, and what they tell each other."""

    def __init__(
        self,
        configuration: InjectorConfiguration,
        process: Process,
        *,
        environment: Environment,
        metrics: InjectorMetrics,
    ) -> None:
        shared = configuration.shared
        self._configuration = configuration
        self._process = process
        self._trust = environment.trust
        self._signer = environment.trust.value.signer
        self._source = environment.source
        self._cluster = environment.cluster
        self._ca_problem = environment.ca_problem
        self._metrics = metrics
        self._lifecycle = Lifecycle("webhook")
        self._certificates = CertificateStore(self._issue, validity=timedelta(seconds=Settings().certificate_validity))
        self._name = webhook_server_name(shared.osm_namespace)
        self._backends = self._choose_backends()
        self._options = self._first_options()
        self._webhook = Webhook(
            self._options,
            namespaces=self._backends.namespaces,
            within=configuration.answer_within,
            bootstrap_store=self._backends.bootstrap_store,
            observer=InjectorReviews(metrics, on_arrival=self._backends.review_arrived),
            new_uuid=self._backends.new_uuid,
        )
        client_ca, token = configuration.client_ca, ""
        self._client_ca_pem = b""
        if client_ca is not None:
            self._client_ca_pem, token = load_client_ca(client_ca), secrets.token_urlsafe()
        self._server = WebhookServer(
            self._listen,
            tls=self._tls(),
            handler=WebhookHandler(
                self._webhook, can_inject=coalesced(self._can_inject, keep=_KEEP), canary_token=token
            ),
            lifecycle=self._lifecycle,
            grace=shared.drain_within,
        )
        bundle = self._backends.bundle.value
        self._canary = WebhookCanary(
            address=shared.bind_address or "127.0.0.1",
            port=self._server.port,
            server_name=self._name,
            bundle_pem=bundle.pem,
            path=REVIEW_PATH,
            body=canary_review(),
            expected=ExpectedSidecar(
                container=SIDECAR_NAME, init_container=INIT_NAME, secret_prefix=bootstrap_secret_name("")
            ),
            no_bundle=bundle.missing,
            token=token,
        )

    async def run(self) -> None:
        """Serve until a stop is asked for, then drain."""
        self._process.use_metrics(self._metrics)
        if self._cluster is not None:
            from osm_probes.runtime.pod_events import transition_recorder

            self._process.judge.on_transition = transition_recorder(self._cluster.events)
        self._update_judge()
        async with (
            lasting_tasks(
                show=partial(self._process.publish_phases, self._lifecycle),
                renew=self._certificates.renew,
            ),
            self._server,
            lasting_tasks(
                settings=self._follow_mesh,
                certificate=self._follow_certificate,
                trust=self._follow_trust,
                bundle=self._follow_bundle,
                authority=partial(self._update_judge_after, self._ca_problem),
                source=partial(self._update_judge_after, self._source.problem),
            ),
            lasting_tasks(
                **{
                    f"backend {number}": partial(self._update_judge_after, latest)
                    for number, latest in enumerate((*self._backends.problems.values(), *self._backends.changes))
                }
            ),
            lasting_tasks(**self._client_ca_work(), **self._backends.background_work),
        ):
            await self._process.until_stop(grace=self._configuration.shared.grace)
            if self._lifecycle.phase in (Phase.SERVING, Phase.RECOVERING):
                await self._process.drain(self._lifecycle, delay=self._configuration.shared.drain_delay)

    def _listen(self, port: int) -> socket.socket:
        configuration = self._configuration
        return listen(port or configuration.webhook_port, address=configuration.shared.bind_address or "")

    def _first_options(self) -> InjectionOptions:
        configuration = self._configuration
        return InjectionOptions(
            mesh_name=configuration.shared.mesh_name,
            osm_namespace=configuration.shared.osm_namespace,
            sidecar_image=configuration.sidecar_image,
            init_image=configuration.init_image,
            pull_policy=configuration.pull_policy,
            native_sidecar=configuration.native_sidecars,
        )

    def _choose_backends(self) -> InjectorBackends:
        if self._cluster is None:
            return standalone_backends(self._source, self._trust.value)
        from osm_probes.injector.cluster_backends import cluster_backends

        return cluster_backends(self._cluster, self._configuration, self._trust, port=lambda: self._server.port)

    async def _can_inject(self) -> None:
        """The checks of readiness, which the webhook asks of itself for /healthz on its own port."""
        if self._lifecycle.phase is not Phase.SERVING:
            raise UnhealthyError(f"the webhook is {self._lifecycle.phase.name}")
        for latest in self._backends.problems.values():
            if latest.value:
                raise UnhealthyError(latest.value.summary, detail=latest.value.detail)
        limit = self._configuration.shared.canary_limit
        questions = (check_certificate, check_bundle, check_review)
        await asyncio.gather(*(ask(self._canary, within=limit) for ask in questions))

    async def _follow_mesh(self) -> None:
        async for mesh in self._source.mesh.values():
            settings = mesh.settings if mesh is not None else Settings()
            self._certificates.change_validity(timedelta(seconds=settings.certificate_validity))
            self._process.set_log_level(settings.log_level)
            self._webhook.update_options(replace(self._options, log_level=settings.sidecar_log_level))

    async def _follow_bundle(self) -> None:
        """Have the judge verify with the bundle that the API server trusts now."""
        async for bundle in self._backends.bundle.values():
            self._canary = structs.replace(self._canary, bundle_pem=bundle.pem, no_bundle=bundle.missing)
            self._update_judge()

    async def _follow_trust(self) -> None:
        """Reissue the certificate when the signer has changed."""
        async for trust in self._trust.values():
            if trust.signer != self._signer:
                self._signer = trust.signer
                self._certificates.replace_all()
            self._update_judge()

    async def _update_judge_after(self, latest: Latest[Any]) -> None:
        async for _ in latest.values():
            self._update_judge()

    async def _follow_certificate(self) -> None:
        async for _ in self._certificates.renewed.values():
            self._server.update_tls(self._tls())
            self._update_judge()

    def _client_ca_work(self) -> dict[str, Callable[[], Work]]:
        path = self._configuration.client_ca
        return {} if path is None else {"client_ca": partial(self._follow_client_ca, path)}

    async def _follow_client_ca(self, path: Path) -> None:
        async for pem in follow_client_ca(path, last=self._client_ca_pem):
            self._client_ca_pem = pem
            self._server.update_tls(self._tls())
            self._server.close_connections()

    def _tls(self) -> ssl.SSLContext:
        return server_context(self._certificates.certificate(self._name), client_ca_pem=self._client_ca_pem)

    def _update_judge(self) -> None:
        """Tell the judge all that it cannot see itself."""
        served = self._certificates.certificate(self._name)
        expiries = {"root": self._trust.value.signer.not_after, "webhook": served.not_after}
        self._process.update_judge(
            webhook=self._canary,
            expiries=expiries,
            problems={name: latest.value for name, latest in self._backends.problems.items()},
            warnings=tuple(self._warnings()),
        )

    def _warnings(self) -> Iterator[Problem]:
        if problem := self._source.problem.value:
            yield problem if self._source.mesh.value is None else problem.after("what was last read is used")
        if self._ca_problem.value:
            yield self._ca_problem.value
        yield from self._backends.warnings()

    def _issue(self, name: str, validity: timedelta) -> Certificate:
        self._metrics.issued.inc()
        return self._trust.value.signer.issue(name, validity=validity)
