"""Speak the Model Context Protocol: serve a session's commands to a client, and offer a server's tools."""
