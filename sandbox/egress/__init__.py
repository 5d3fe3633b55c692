"""Let a session with `network` reach exactly what its rules name, through one child process on the host.

`rules` and `addresses` decide and are pure; `border` carries a decision out: journal, resolve, check, dial.
`child` is the process, `gate` its parent's side, `proxy` what the container's loopback proxy speaks with.
"""
