"""Build what a container needs to start: the runtime volume, the empty image and the starter image."""
