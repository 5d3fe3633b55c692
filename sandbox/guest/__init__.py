"""Run inside the container: the guest, PID 1. Standard library only; imports nothing of ours but this folder."""
