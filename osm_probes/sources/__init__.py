"""Sources: a folder of manifests, or the objects of a cluster -> mesh, kept up to date."""
