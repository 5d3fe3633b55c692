"""Decide what a session may do: pure functions from text to a decision, no file, socket, clock or process."""
