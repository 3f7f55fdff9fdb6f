"""What both entries do: flags -> configuration; what ends a program at its start is told as an Event, too."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from osm_probes.configuration.flags import WrongFlagsError
from osm_probes.configuration.shared import Shared
from osm_probes.foundation.errors import OsmError

T = TypeVar("T")


def parsed(
    parse: Callable[[Sequence[str], Mapping[str, str]], T],
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    component: str,
    pod: str,
) -> T:
    """What `parse` makes of flags and environment; where it ends the process, the pod `pod` gets an Event first."""
    try:
        return parse(argv, environment)
    except WrongFlagsError as end:
        from osm_probes.runtime.pod_events import report_flags

        report_flags(end.words, argv, component=component, pod=pod)
        raise


def telling_fatal(component: str, shared: Shared) -> Callable[[OsmError], None]:
    """What writes the Event of the error that ended this program."""

    def tell(error: OsmError) -> None:
        from osm_probes.runtime.pod_events import report_fatal

        report_fatal(error, component=component, shared=shared)

    return tell
