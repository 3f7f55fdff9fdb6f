"""The error of the one-node cluster."""


class ClusterError(Exception):
    """A part of the cluster did not start or failed; the message names the part and the reason."""
