"""xDS: mesh + identity -> Envoy resources, and bootstraps of proxies; without I/O."""
