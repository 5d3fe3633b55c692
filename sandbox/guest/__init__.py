"""Run inside the container: the guest, PID 1. Standard library only; imports nothing of ours but this folder.

Layout in the runtime volume: ``__init__``, ``__main__`` and ``packed`` compiled at ``/rt/guest``, all other
modules in one file beside them (``packed`` says why). Start line, whatever the image::

    /rt/lib/<loader> --library-path /rt/lib /rt/bin/python3 -I -S -B /rt/guest/__main__.pyc [--exec]
    [--loopback] ROOT

``ROOT`` is the folder that paths are relative to: ``/workspace`` or the scratch folder. ``--exec`` says that
the grant holds `exec`, ``--loopback`` that AF_INET and AF_INET6 sockets may be made; a flag that is absent is
the closed door. Both are argv, not frames, because the guest locks itself down before it reads the first
frame; `inspect` shows them.

The link is descriptors 0 and 1; stderr gets at most one line, when the guest ends for a reason of its own.
Exit codes: 0 the link was closed, 2 wrong arguments, 3 the lease ran out, 4 it could not lock itself down, 5
a protocol error, 6 the wall clock ran out, 7 a fault of its own.
"""
