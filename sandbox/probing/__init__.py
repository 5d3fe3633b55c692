"""Try on a real engine what each grant refuses and allows: the host's side of `pairlock doctor --probe`."""
