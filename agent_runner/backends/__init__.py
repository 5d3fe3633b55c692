"""Talk to models: one module for each kind of backend."""
