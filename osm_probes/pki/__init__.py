"""The certificate authority (CA), certificates and trusted roots."""
