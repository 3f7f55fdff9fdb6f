"""Builder: mesh + identity -> Envoy resources, pure."""
