"""Decide what a session may do: pure functions; no socket, clock, process, nor file but package data."""
