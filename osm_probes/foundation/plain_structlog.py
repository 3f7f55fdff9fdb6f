"""Foundation: structlog without rich, which it loads where it finds it: 4 MB and 60 ms of a judge that needs none."""

import sys

_HIDDEN = "rich"
_was_loaded = _HIDDEN in sys.modules
if not _was_loaded:
    sys.modules[_HIDDEN] = None  # type: ignore[assignment]  # for an import this means: there is none
import structlog  # noqa: E402 - what is hidden must be hidden before
from structlog.typing import FilteringBoundLogger  # noqa: E402

if not _was_loaded:
    del sys.modules[_HIDDEN]

__all__ = ["FilteringBoundLogger", "structlog"]
