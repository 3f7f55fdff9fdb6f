"""The services, proxies, policies and settings of a mesh, as plain values."""
