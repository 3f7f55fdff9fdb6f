"""The demo: two real Envoys that our controller configures, each in a network namespace of its own."""
