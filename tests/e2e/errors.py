"""What goes wrong in the one-node cluster."""


class ClusterError(Exception):
    """A part of the cluster did not come up or failed; the message says which and how."""
