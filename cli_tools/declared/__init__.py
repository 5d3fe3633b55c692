"""Make commands from a YAML file: a program with a fixed argv, into which typed values are put, each bounded.

A value can never become an option, a second argument or a word of a shell: docs/declared-commands.md.
"""

from cli_tools.declared.declare import declared_commands

__all__ = ["declared_commands"]
