"""Keep the workspace as the agent changes it, until a person has reviewed it."""
