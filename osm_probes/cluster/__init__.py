"""The programs' own objects in a cluster: CA Secret, bootstrap Secrets, webhook CA bundle, namespaces."""
