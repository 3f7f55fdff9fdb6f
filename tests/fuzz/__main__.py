"""`make fuzz`: run each target for its share of the time. The exit status is 1 if a target has a fault."""

import argparse
import logging
import sys
import time
import traceback

from tests.fuzz.target import FuzzTarget, run_batch
from tests.fuzz.targets import TARGETS

_BATCH = 100


def main() -> int:
    """Run the targets. Returns the exit status of the process."""
    arguments = _arguments()
    targets = [target for target in TARGETS if not arguments.only or target.name in arguments.only]
    if unknown := set(arguments.only or ()) - {target.name for target in TARGETS}:
        print(f"no such target: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    logging.disable()  # the faults are in what is returned, and each invalid input would be a line
    share = arguments.seconds / len(targets)
    # All of them run, also after a fault.
    results = [_run(target, first=arguments.seed, seconds=share) for target in targets]
    return 0 if all(results) else 1


def _run(target: FuzzTarget, *, first: int, seconds: float) -> bool:
    """Run batches with the seeds `first`, `first` + 1, … until the time is over. Whether no input showed a fault."""
    end, number = time.monotonic() + seconds, first
    with target.opened() as check:
        while number == first or time.monotonic() < end:
            try:
                run_batch(target, check, number=number, examples=_BATCH)
            except Exception:
                traceback.print_exc()
                print(f"{target.name}: FAULT; again: make fuzz ONLY={target.name} SEED={number} SECONDS=1", flush=True)
                return False
            number += 1
    print(f"{target.name}: {(number - first) * _BATCH} inputs, seeds {first} to {number - 1}: no fault", flush=True)
    return True


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=240, help="for all targets together (default 240)")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the first batch (default 0)")
    parser.add_argument("--only", nargs="*", help="the names of targets")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
