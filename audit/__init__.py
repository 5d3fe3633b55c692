"""Remember what a session did: the ledger, written by the host, verifiable with nothing else of ours."""
