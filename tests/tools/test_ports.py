"""Free and used ports."""

import socket

import pytest

from tools.ports import PortInUseError, free_port, refuse_port_in_use


def test_a_free_port_can_be_taken() -> None:
    port = free_port()
    refuse_port_in_use(port)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))


def test_a_port_on_which_somebody_listens_is_refused() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortInUseError, match="--port"):
            refuse_port_in_use(port)
