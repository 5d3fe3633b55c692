"""Start the guest from its folder, wherever that is: `python3 -I -S -B /rt/guest/__main__.py …`."""

from __future__ import annotations

import gc
import sys

if __name__ == "__main__":
    here = __file__.rpartition("/")[0]
    above, _, name = here.rpartition("/")
    # Behind the standard library, so that nothing beside the folder can stand in for a module of it.
    sys.path.append(above)
    gc.disable()  # nothing that is made while modules load is garbage; `main` enables it again
    __import__(f"{name}.packed")
    sys.modules[f"{name}.packed"].use(here, name)
    __import__(f"{name}.main")
    sys.modules[f"{name}.main"].main(sys.argv[1:])
