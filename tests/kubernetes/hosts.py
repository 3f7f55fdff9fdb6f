"""Name resolution for an API server that calls a webhook by its Service name on a machine without Services."""

from pathlib import Path


def resolve_to_this_machine(name: str, *, folder: Path) -> tuple[str, ...]:
    """A command prefix that resolves `name` to this machine, by its own copy of /etc/hosts."""
    hosts = folder / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {name}\n")
    return ("unshare", "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh")
