"""Let `python -m agent_runner` be `pairlock`."""

from agent_runner.cli.main import main

main()
