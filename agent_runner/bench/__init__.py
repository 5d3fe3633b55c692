"""Measure this machine: each speed beside its floor, in one run. What `pairlock bench` prints."""
