"""What the programs read and write in a cluster: CA Secret, bootstrap Secrets, webhook CA bundle, namespaces."""
