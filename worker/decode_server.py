"""The decoders' parent: loaded once, it forks a fresh limited child for each photo.

It gets the child's socket through its own and never reads from it, so no photo is ever in its
memory, where the next child would find it. After each child it writes one line: its exit status.
Start it through `worker/decode.py`; its argument is JSON (`DecodeLimits`).
"""

import json
import os
import socket
import sys

from PIL import Image

from worker.decode_child import serve


def main() -> None:
    settings = json.loads(sys.argv[1])
    Image.init()  # loads the decoders' libraries
    with socket.socket(fileno=sys.stdin.fileno()) as control:
        while connection := _next_connection(control):
            with connection:
                child = os.fork()
                if child == 0:
                    control.close()
                    os._exit(serve(connection, settings))
            _, status = os.waitpid(child, 0)
            control.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _next_connection(control: socket.socket) -> socket.socket | None:
    """Wait for the next child's socket; None when whoever started this has ended."""
    _, descriptors, _, _ = socket.recv_fds(control, 1, 1)
    return socket.socket(fileno=descriptors[0]) if descriptors else None


if __name__ == "__main__":
    main()
