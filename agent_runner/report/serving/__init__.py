"""Hand reports out on this machine, to whoever holds the address that was printed, and to nobody else."""
