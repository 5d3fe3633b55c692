"""Let `python -m agent_runner` be `pairlock`."""

from agent_runner.cli.entry import start

start()
