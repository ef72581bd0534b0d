"""What leaves goes to allowed public hosts over https, and nowhere that an answer points to."""

import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from clinic.egress import LIMITS, AllowListTransport, EgressRefused, egress_client, is_public

HOST = "ehr.example"
LOOPBACK = ip_address("127.0.0.1")


class Receiver(BaseHTTPRequestHandler):
    """A record system: /moved redirects to this machine, all else answers 201."""

    def do_POST(self) -> None:
        self.server.asked.append((self.path, self.headers["Host"]))  # type: ignore[attr-defined]
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        moved = self.path == "/moved"
        self.send_response(307 if moved else 201)
        if moved:
            self.send_header("Location", f"https://127.0.0.1:{self.server.server_port}/inside")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Keep the test's output quiet."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of its own authority for HOST, with its key, in one file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "ehr.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(made.public_bytes(Encoding.PEM) + private)
    return path


@pytest.fixture
def receiver(certificate: Path) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.daemon_threads = True
    server.asked = []  # type: ignore[attr-defined]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


Open = Callable[..., httpx.Client]


@pytest.fixture
def client(receiver: ThreadingHTTPServer, certificate: Path) -> Iterator[Open]:
    """`client(hosts, at=..., permits=...)`: every name leads to `at`."""
    opened: list[httpx.Client] = []

    def one(*hosts: str, at: tuple[str, ...] = ("127.0.0.1",), **parts: object) -> httpx.Client:
        allowed = frozenset(hosts or {f"{HOST}:{receiver.server_port}"})
        transport = AllowListTransport(
            allowed,
            verify=ssl.create_default_context(cafile=certificate),
            resolve=lambda _host, _port: [ip_address(one) for one in at],
            **parts,  # type: ignore[arg-type]
        )
        opened.append(egress_client(transport))
        return opened[-1]

    yield one
    for each in opened:
        each.close()


def anywhere(_: object) -> bool:
    return True


def test_an_allowed_receiver_is_reached_under_its_own_name(
    client: Open, receiver: ThreadingHTTPServer
) -> None:
    url = f"https://{HOST}:{receiver.server_port}/fhir"

    answer = client(permits=anywhere).post(url, content=b"{}")

    assert answer.status_code == 201
    assert receiver.asked == [("/fhir", f"{HOST}:{receiver.server_port}")]


def test_a_redirect_to_this_machine_is_refused_and_not_followed(
    client: Open, receiver: ThreadingHTTPServer
) -> None:
    url = f"https://{HOST}:{receiver.server_port}/moved"

    for follow in (False, True):
        with pytest.raises(EgressRefused, match="redirect, which is never followed"):
            client(permits=anywhere).post(url, content=b"{}", follow_redirects=follow)

    assert {path for path, _ in receiver.asked} == {"/moved"}


@pytest.mark.parametrize(
    "at", [("127.0.0.1",), ("::1",), ("10.0.0.8",), ("93.184.215.14", "10.0.0.8"), ()]
)
def test_a_name_that_leads_inside_is_refused_before_any_connection(
    client: Open, receiver: ThreadingHTTPServer, at: tuple[str, ...]
) -> None:
    with pytest.raises(EgressRefused, match="a network of our own"):
        client(at=at).post(f"https://{HOST}:{receiver.server_port}/fhir")

    assert receiver.asked == []


@pytest.mark.parametrize(
    "url",
    [
        *("https://other.example/", "https://127.0.0.1/", "https://ehr.example.evil.example/"),
        *("https://ehr.example:8443/", "https://user@other.example/", "https://[::1]/"),
    ],
)
def test_a_host_or_port_outside_the_list_is_refused(client: Open, url: str) -> None:
    with pytest.raises(EgressRefused, match="not on the list"):
        client(HOST, permits=anywhere).post(url)


def test_only_https_is_sent_to(client: Open) -> None:
    with pytest.raises(EgressRefused, match="Only https"):
        client(HOST, permits=anywhere).post(f"http://{HOST}/")


def test_an_unknown_name_is_told_as_such() -> None:
    def unknown(_host: str, _port: int) -> list[object]:
        raise OSError("no such name")

    transport = AllowListTransport(frozenset({HOST}), resolve=unknown)  # type: ignore[arg-type]
    with egress_client(transport) as sender, pytest.raises(EgressRefused, match="no address"):
        sender.post(f"https://{HOST}/")


def test_a_certificate_of_another_name_ends_the_connection(
    client: Open, receiver: ThreadingHTTPServer
) -> None:
    named = f"other.example:{receiver.server_port}"

    with pytest.raises(httpx.ConnectError, match=r"(?i)certificate"):
        client(named, permits=anywhere).post(f"https://{named}/fhir")

    assert receiver.asked == []


def test_a_proxy_of_the_environment_is_not_used(
    client: Open, receiver: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    sent = client(permits=anywhere).post(f"https://{HOST}:{receiver.server_port}/fhir")

    assert sent.status_code == 201


def test_every_step_of_a_request_has_its_limit_in_time() -> None:
    assert None not in LIMITS.as_dict().values()


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_addresses_of_the_open_network(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1", "::", "::1"),
        *("fe80::1", "fc00::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
        *("64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::"),
    ],
)
def test_addresses_of_this_machine_and_of_closed_or_special_networks(address: str) -> None:
    assert not is_public(ip_address(address))
