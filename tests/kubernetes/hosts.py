"""How an API server finds a webhook by its Service's name, where no network of Services is."""

from pathlib import Path


def naming_this_machine(name: str, *, folder: Path) -> tuple[str, ...]:
    """What a command begins with to which `name` is this machine: it has a copy of /etc/hosts of its own."""
    hosts = folder / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {name}\n")
    return ("unshare", "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh")
