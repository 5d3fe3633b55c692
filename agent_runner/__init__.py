"""Run sessions: ask the model, loop, resume, report. The only package that knows a model."""
