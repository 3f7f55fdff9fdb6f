"""osm-injector's own part: CA and mesh folder, then the webhook; what the judge is told; the stop in reverse."""

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from msgspec import structs

from osm_probes.admission.handler import Handler
from osm_probes.admission.options import InjectionOptions
from osm_probes.admission.self_check import sample_review
from osm_probes.admission.server import WebhookServer
from osm_probes.admission.webhook import Webhook
from osm_probes.canary.webhook import ask_bundle, ask_certificate, ask_review
from osm_probes.configuration.injector import InjectorConfiguration
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.listen import listen
from osm_probes.foundation.tasks import background_tasks
from osm_probes.health.checks import UnhealthyError, coalesced
from osm_probes.health.judge_state import WebhookCanary
from osm_probes.health.lifecycle import Lifecycle, Phase
from osm_probes.injector.backends import InjectorBackends, standalone_backends
from osm_probes.injector.metrics import InjectorMetrics
from osm_probes.mesh.ports import REVIEW_PATH
from osm_probes.mesh.settings import Settings
from osm_probes.pki.certificate import Certificate
from osm_probes.pki.certificate_store import CertificateStore
from osm_probes.runtime.environment import Environment, Reads, load_environment
from osm_probes.runtime.process import Process

_KEEP: Final = 0.25
_LAST_STEPS: Final = 2.0
# When its timeout is over the API server no longer listens, not to words either.
_ANSWER_SHARE: Final = 0.9


async def serve_injection(configuration: InjectorConfiguration, process: Process) -> None:
    """Serve until a stop is asked for, then drain. Raises OsmError where it cannot start."""
    metrics = InjectorMetrics()
    async with load_environment(
        configuration.shared, agent="osm-injector", reads=Reads.NAMESPACES, metrics=metrics, waiting=process.warn
    ) as environment:
        await Injection(configuration, process, environment=environment, metrics=metrics).run()


class Injection:
    """The parts of an injector, and what passes between them."""

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
        self._authority_problem = environment.authority_problem
        self._metrics = metrics
        self._lifecycle = Lifecycle("webhook")
        self._certificates = CertificateStore(self._issue, validity=timedelta(seconds=Settings().certificate_validity))
        self._name = f"osm-injector.{shared.osm_namespace}.svc"
        self._backends = self._choose_backends()
        self._options = self._first_options()
        self._webhook = Webhook(
            self._options,
            namespaces=self._backends.namespaces,
            within=configuration.webhook_timeout * _ANSWER_SHARE,
            store=self._backends.store,
            observer=metrics,
        )
        self._server = WebhookServer(
            self._listen,
            certificate=self._certificates.certificate(self._name),
            handler=Handler(self._webhook, can_inject=coalesced(self._can_inject, keep=_KEEP)),
            lifecycle=self._lifecycle,
            grace=max(1.0, shared.grace - shared.drain_delay - _LAST_STEPS),
        )
        bundle = self._backends.bundle.value
        self._canary = WebhookCanary(
            address=shared.bind_address or "127.0.0.1",
            port=self._server.port,
            server_name=self._name,
            bundle_pem=bundle.pem,
            path=REVIEW_PATH,
            body=sample_review(),
            no_bundle=bundle.missing,
        )

    async def run(self) -> None:
        """Serve until a stop is asked for, then drain."""
        self._process.measure(self._metrics)
        if self._cluster is not None:
            from osm_probes.runtime.pod_events import telling

            self._process.keeper.transitions = telling(self._cluster.events)
        self._tell()
        async with (
            background_tasks(
                show=self._process.show(self._lifecycle),
                renew=self._certificates.renew(),
            ),
            self._server,
            background_tasks(
                settings=self._follow_mesh(),
                certificate=self._follow_certificate(),
                trust=self._follow_trust(),
                bundle=self._follow_bundle(),
                authority=self._tell_of(self._authority_problem),
                source=self._tell_of(self._source.problem),
            ),
            background_tasks(**{name: work() for name, work in self._backends.works.items()}),
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

        return cluster_backends(self._cluster, self._configuration, self._trust)

    async def _can_inject(self) -> None:
        """The three checks of readiness, asked by the webhook of itself."""
        if self._lifecycle.phase is not Phase.SERVING:
            raise UnhealthyError(f"the webhook is {self._lifecycle.phase.name}")
        limit = self._configuration.shared.canary_limit
        questions = (ask_certificate, ask_bundle, ask_review)
        await asyncio.gather(*(ask(self._canary, within=limit) for ask in questions))

    async def _follow_mesh(self) -> None:
        async for mesh in self._source.mesh.values():
            settings = mesh.settings if mesh is not None else Settings()
            self._certificates.change_validity(timedelta(seconds=settings.certificate_validity))
            self._process.log_at(settings.log_level)
            self._webhook.use(replace(self._options, log_level=settings.sidecar_log_level))

    async def _follow_bundle(self) -> None:
        """Judge by what the API server trusts now."""
        async for bundle in self._backends.bundle.values():
            self._canary = structs.replace(self._canary, bundle_pem=bundle.pem, no_bundle=bundle.missing)
            self._tell()

    async def _follow_trust(self) -> None:
        """Have the newest signer sign what is served."""
        async for trust in self._trust.values():
            if trust.signer != self._signer:
                self._signer = trust.signer
                self._certificates.replace_all()
            self._tell()

    async def _tell_of(self, latest: Latest[Any]) -> None:
        async for _ in latest.values():
            self._tell()

    async def _follow_certificate(self) -> None:
        async for _ in self._certificates.renewed.values():
            self._server.use(self._certificates.certificate(self._name))
            self._tell()

    def _tell(self) -> None:
        """Tell the judge all that it cannot see itself."""
        served = self._certificates.certificate(self._name)
        expiries = {"root": self._trust.value.signer.not_after, "webhook": served.not_after}
        self._process.brief(webhook=self._canary, expiries=expiries, warnings=tuple(self._warnings()))

    def _warnings(self) -> Iterator[str]:
        if self._source.mesh.value is not None and self._source.problem.value:
            yield f"what was last read is used: {self._source.problem.value}"
        if self._authority_problem.value:
            yield self._authority_problem.value

    def _issue(self, name: str, validity: timedelta) -> Certificate:
        self._metrics.issued.inc()
        return self._trust.value.signer.issue(name, validity=validity)
