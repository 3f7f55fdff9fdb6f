"""What the entry points of both programs share: flags -> configuration; a fatal start leaves an Event on the pod."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from osm_probes.configuration.flag_parser import WrongFlagsError
from osm_probes.configuration.shared import SharedConfiguration
from osm_probes.foundation.errors import OsmError

T = TypeVar("T")


def parse_or_report(
    parse: Callable[[Sequence[str], Mapping[str, str]], T],
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    component: str,
    pod: str,
) -> T:
    """What `parse` makes of flags and environment. If it ends the process, the pod gets an Event first."""
    try:
        return parse(argv, environment)
    except WrongFlagsError as end:
        from osm_probes.runtime.pod_events import report_flags

        report_flags(end.message, argv, component=component, pod=pod)
        raise


def fatal_reporter(component: str, shared: SharedConfiguration) -> Callable[[OsmError], None]:
    """A function that writes the Event of the error that ended the program."""

    def report(error: OsmError) -> None:
        from osm_probes.runtime.pod_events import report_fatal

        report_fatal(error, component=component, shared=shared)

    return report
