"""Offer the agent its fixed action space: every command, and the one gate that each action goes through."""
