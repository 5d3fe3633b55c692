"""Say which image a session gets, and make images that projects and agents need."""
