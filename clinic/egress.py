"""Requests that leave the installation: only to the record systems that somebody allowed by name.

What limits them: https; a host of the list; an address that is public, looked up once and used for
this very connection, so that a name cannot change its meaning in between; no redirect; no proxy
from the environment; limits on time. Source: OWASP ASVS 5.0.0, 1.3.6, 13.2.4 and 15.3.2.
"""

import socket
import ssl
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpx

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Sequence[Address]]

_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052
LIMITS = httpx.Timeout(20.0, connect=5.0)


class EgressRefused(httpx.RequestError):
    """Nothing was sent, or the answer leads elsewhere; the message says why."""


def resolve(host: str, port: int) -> Sequence[Address]:
    """Every address that this name has now.

    Raises:
        OSError: the name is not known.

    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # A link-local address may carry its interface behind a percent sign.
    return [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def is_public(address: Address) -> bool:
    """Whether an address is on the open network: not this machine, not a private or special net."""
    if isinstance(address, IPv6Address):
        # These carry an IPv4 address inside, which may be one of ours.
        if address.sixtofour or address.teredo or address in _NAT64:
            return False
        if address.ipv4_mapped:
            return is_public(address.ipv4_mapped)
    return address.is_global and not address.is_multicast


class AllowListTransport(httpx.HTTPTransport):
    """Sends to allowed hosts alone. `hosts` are lower-case, with a port where it is not 443."""

    def __init__(
        self,
        hosts: frozenset[str],
        *,
        verify: ssl.SSLContext | bool = True,
        resolve: Resolve = resolve,
        permits: Callable[[Address], bool] = is_public,
    ) -> None:
        super().__init__(verify=verify, trust_env=False)
        self._hosts = hosts
        self._resolve = resolve
        self._permits = permits

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        request.extensions = {**request.extensions, "sni_hostname": host}
        address = self._checked(request)
        # The certificate is checked against the name, the connection goes to this address.
        request.url = request.url.copy_with(host=str(address))
        answer = super().handle_request(request)
        if answer.is_redirect:
            answer.close()
            raise EgressRefused(f"{host} answered with a redirect, which is never followed.")
        return answer

    def _checked(self, request: httpx.Request) -> Address:
        url = request.url
        if url.scheme != "https":
            raise EgressRefused("Only https addresses are sent to.", request=request)
        if url.netloc.decode("ascii") not in self._hosts:
            raise EgressRefused(f"{url.host} is not on the list of receivers.", request=request)
        try:
            addresses = self._resolve(url.host, url.port or 443)
        except OSError as error:
            raise EgressRefused(f"{url.host} has no address.", request=request) from error
        # One bad address among good ones is a trap, not an accident.
        if not addresses or not all(self._permits(one) for one in addresses):
            raise EgressRefused(f"{url.host} leads to a network of our own.", request=request)
        return addresses[0]


def egress_client(transport: AllowListTransport) -> httpx.Client:
    """A client that can reach nothing but what the transport allows."""
    return httpx.Client(
        transport=transport, timeout=LIMITS, follow_redirects=False, trust_env=False
    )
