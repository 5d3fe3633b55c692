"""Let somebody else's agent run in a session: its terminal, and the model APIs on its loopback."""
