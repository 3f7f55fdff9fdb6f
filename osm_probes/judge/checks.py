"""The checks of readiness. A new one is a class here, its line in CHECKS, and its name in JudgeState."""

import asyncio
import contextlib
import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import ClassVar, Final, Generic, TypeVar

from osm_probes.canary.ads import check_ads
from osm_probes.canary.webhook import check_bundle, check_certificate, check_review
from osm_probes.foundation.problem import Problem
from osm_probes.health.checks import UnhealthyError, coalesced
from osm_probes.health.judge_state import AdsCanary, WebhookCanary
from osm_probes.judge.program_view import UNSERVED, ProgramView

_UNKNOWN: Final = Problem("nothing known yet")

Canary = TypeVar("Canary", AdsCanary, WebhookCanary)


class Stage(enum.IntEnum):
    """When a check runs. Checks of one stage run concurrently, those of a later stage after them."""

    CONNECT = enum.auto()
    """It connects to the program as the program's clients do, which takes time."""
    WAIT = enum.auto()
    """It waits for what a new client waits for, too."""
    STATE = enum.auto()
    """It reads known state. It runs last, so that it is current."""


class Check(ABC):
    """One check of readiness. name: the one in ?verbose, ?exclude and the paths."""

    name: ClassVar[str]
    stage: ClassVar[Stage] = Stage.STATE

    def __init__(self, program: ProgramView) -> None:
        self._program = program

    @abstractmethod
    async def run(self, *, wait: float) -> None:
        """Return if healthy; raise UnhealthyError with the reason if not.

        wait: seconds that are left of the canary limit; 0 if a check of an earlier stage has failed.
        """


class ConnectionCheck(Check, Generic[Canary]):
    """A check that opens a new connection. It runs once at a time, and its result is kept for `keep` seconds."""

    stage = Stage.CONNECT
    keep: ClassVar[float] = 0.25

    def __init__(self, program: ProgramView) -> None:
        super().__init__(program)
        self._connect_coalesced = coalesced(self._connect_or_again, keep=self.keep)

    async def run(self, *, wait: float) -> None:
        _raise_if(self._out_of_service())
        self._known_canary()  # without one there is no result to keep
        # Also while the program starts: its clients connect as soon as it listens, and wait until it serves.
        await self._connect_coalesced()
        if not self._program.read().has_served:  # another process listens on that port
            raise UnhealthyError(UNSERVED)

    @abstractmethod
    def _canary(self) -> Canary | None:
        """How to connect; None until the program has sent it."""

    @abstractmethod
    async def _connect(self, canary: Canary, *, within: float) -> None:
        """Connect, and raise UnhealthyError unless the program serves as it should."""

    def _out_of_service(self) -> Problem:
        """Why the program does not serve now; false if only a connection can tell."""
        return Problem(self._program.out_of_service())

    def _known_canary(self) -> Canary:
        if (canary := self._canary()) is None:
            raise UnhealthyError(UNSERVED)
        return canary

    async def _connect_or_again(self) -> None:
        canary = self._known_canary()
        try:
            await self._connect(canary, within=self._program.judge_state.canary_limit)
        except UnhealthyError:
            # If certificates have changed meanwhile, the failure says nothing about the program.
            if (newer := self._known_canary()) == canary:
                raise
            await self._connect(newer, within=self._program.judge_state.canary_limit)


class AdsCheck(ConnectionCheck[AdsCanary]):
    """A new proxy is served by the ADS: the canary is, and no proxy waits too long for its first configuration."""

    name = "ads"

    def _canary(self) -> AdsCanary | None:
        return self._program.judge_state.ads

    async def _connect(self, canary: AdsCanary, *, within: float) -> None:
        try:
            await check_ads(canary, within=within)
        except UnhealthyError:
            _raise_if(self._proxies_wait())  # the better reason
            raise

    def _out_of_service(self) -> Problem:
        return super()._out_of_service() or self._proxies_wait()

    def _proxies_wait(self) -> Problem:
        return self._program.judge_state.problems.get(self.name, Problem())


class _WebhookCheck(ConnectionCheck[WebhookCanary]):
    def _canary(self) -> WebhookCanary | None:
        return self._program.judge_state.webhook


class WebhookCertificateCheck(_WebhookCheck):
    """The webhook serves a certificate that is in date."""

    name = "certificate"

    async def _connect(self, canary: WebhookCanary, *, within: float) -> None:
        await check_certificate(canary, within=within)


class CaBundleCheck(_WebhookCheck):
    """The CA bundle of the webhook configuration trusts the webhook's certificate."""

    name = "bundle"

    async def _connect(self, canary: WebhookCanary, *, within: float) -> None:
        await check_bundle(canary, within=within)


class ReviewCheck(_WebhookCheck):
    """The webhook answers the review of a synthetic pod with a patch, and is not draining."""

    name = "review"

    async def _connect(self, canary: WebhookCanary, *, within: float) -> None:
        await check_review(canary, within=within)

    def _out_of_service(self) -> Problem:
        return super()._out_of_service() or Problem(self._program.draining())


class ProblemCheck(Check):
    """A check that the program itself decides: it sends the problem under the check's name."""

    async def run(self, *, wait: float) -> None:
        _raise_if(self._problem())

    def _problem(self) -> Problem:
        return self._program.judge_state.problems.get(self.name, _UNKNOWN)


class MeshCheck(ProblemCheck):
    """There is a mesh to serve. A new proxy waits for it on its stream, and so does this check."""

    name = "mesh"
    stage = Stage.WAIT

    async def run(self, *, wait: float) -> None:
        if not self._program.draining():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    while self._problem():
                        await self._program.changes.after(self._program.changes.version)
        await super().run(wait=0)


class UpdatesCheck(ProblemCheck):
    """What changes reaches the proxies in time."""

    name = "updates"


class CapacityCheck(ProblemCheck):
    """There is room for one more proxy."""

    name = "capacity"


class ConfigurationCheck(ProblemCheck):
    """The webhook configuration lets the API server send the reviews of the mesh's pods."""

    name = "configuration"


class BootstrapsCheck(ProblemCheck):
    """The API server stores the bootstraps of sidecars, at least in one namespace of the mesh."""

    name = "bootstraps"


class ApiServerCheck(ProblemCheck):
    """There is no evidence that only this injector cannot reach the API server."""

    name = "api-server"


class DryRunCheck(ProblemCheck):
    """A pod that is created in a dry run gets a sidecar."""

    name = "dry-run"


class CertificatesCheck(Check):
    """All certificates that the program uses are in date."""

    name = "certificates"

    async def run(self, *, wait: float) -> None:
        expiries, now = self._program.judge_state.expiries, datetime.now(UTC)
        if not expiries:
            raise UnhealthyError("no certificate yet")
        expired = [f"the {kind} certificate expired at {at:%FT%TZ}" for kind, at in expiries.items() if at <= now]
        if expired:
            raise UnhealthyError(", ".join(expired))


class DrainingCheck(Check):
    """The program is not draining."""

    name = "draining"

    async def run(self, *, wait: float) -> None:
        if reason := self._program.draining():
            raise UnhealthyError(reason)


def _raise_if(problem: Problem) -> None:
    if problem:
        raise UnhealthyError(problem.summary, detail=problem.detail)


CheckFactory = Callable[[ProgramView], Check]

CHECKS: Final[Mapping[str, CheckFactory]] = {
    check.name: check
    for check in (
        AdsCheck,
        MeshCheck,
        UpdatesCheck,
        CertificatesCheck,
        CapacityCheck,
        DrainingCheck,
        WebhookCertificateCheck,
        CaBundleCheck,
        ReviewCheck,
        ConfigurationCheck,
        BootstrapsCheck,
        ApiServerCheck,
        DryRunCheck,
    )
}
"""All checks by name. `JudgeState.ready` says which of them belong to a program's readiness, and in which order."""
