"""Hold a session to its grant: container, link, stage, attestation. The only package that knows Docker."""
