"""Run agent tasks beside a project's tests: read task files, run each in its sandbox, check what came."""
