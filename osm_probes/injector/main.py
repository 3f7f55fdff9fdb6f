"""osm-injector: the entry; signals and flags first, then the probes' port, then all that is heavy."""

import os
import sys

from osm_probes.foundation.signals import StopSignals

_NAME = "osm-injector"


def main() -> None:
    """Run until SIGTERM; the process ends with the status that `osm-injector --help` tells."""
    signals = StopSignals()
    signals.install()
    from osm_probes.configuration.injector import parse_injector
    from osm_probes.health.judge_state import INJECTOR
    from osm_probes.runtime.process import Process, run_program
    from osm_probes.runtime.startup import parsed, telling_fatal

    pod = os.environ.get("INJECTOR_POD_NAME", "")
    configuration = parsed(parse_injector, sys.argv[1:], os.environ, component=_NAME, pod=pod)

    async def serve(process: Process) -> None:
        from osm_probes.injector.app import serve_injection

        await serve_injection(configuration, process)

    fatal = telling_fatal(_NAME, configuration.shared)
    run_program(_NAME, shared=configuration.shared, judge_state=INJECTOR, signals=signals, serve=serve, fatal=fatal)
