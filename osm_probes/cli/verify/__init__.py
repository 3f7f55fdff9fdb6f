"""`osm verify control-plane`: `collect` reads the state of a cluster, the checks examine it without I/O.

control_plane.py is the command: it runs all checks and prints their results as a tree. Each check has a line there:

    line of the tree                   module
    Own namespace is not injected      sidecar.py
    Deployment …, Versions             deployments.py
    Pod … / No sidecar                 sidecar.py
    Pod … / Running                    pods.py
    Pod … / Events                     events.py
    Pod … / Log                        logs.py
    Pod … / Probe …                    probes.py
    Pod … / Certificates               certificates.py
    Pod … / Proxies                    proxies.py
    Pod … / Webhook certificate        webhook.py
    Webhook …                          webhook.py
    Services                           services.py
    Permissions of …                   permissions.py
    Lease holder                       lease.py
    IPv6 rules                         ipv6_rules.py
    CRDs                               crds.py
"""
