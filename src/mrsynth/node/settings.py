"""What a node is told: where it listens, whom it serves, which models it runs, and where results go."""

from __future__ import annotations

import ipaddress
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mrsynth.core.errors import InputError

GIB = 1 << 30


@dataclass(frozen=True)
class Destination:
    """Where results go.

    Attributes:
        host, port: of the peer.
        title: its AE title; "" where it is a DICOMweb server.
        url: of a DICOMweb server, to which /studies is added.
    """

    host: str
    port: int
    title: str = ""
    url: str = ""

    @classmethod
    def parse(cls, text: str) -> Destination:
        """Return the peer that a text names: AET@host:port, or a DICOMweb server's address; raises InputError."""
        try:
            if text.startswith(("http://", "https://")):
                parts = urlsplit(text)
                port = parts.port or (443 if parts.scheme == "https" else 80)
                if parts.hostname and not parts.query and not parts.fragment:
                    return cls(parts.hostname, port, url=text.rstrip("/"))
            elif found := re.fullmatch(r"([^@\\]{1,16})@(\[[0-9A-Fa-f:.]+\]|[^\s@:\[\]]+):([0-9]{1,5})", text):
                port = int(found[3])
                if 0 < port < 65536:
                    return cls(found[2].strip("[]"), port, title(found[1]))
        except ValueError:
            pass
        raise InputError("--send names no peer.", found=text, expected="AET@host:port, or https://host/dicom-web")

    @property
    def name(self) -> str:
        """The peer as a table names it."""
        return self.url or f"{self.title}@{self.host}:{self.port}"

    @property
    def is_encrypted(self) -> bool:
        """Say whether a DICOMweb address is one of TLS."""
        return self.url.startswith("https://")


@dataclass(frozen=True)
class Tls:
    """Files of TLS.

    Attributes:
        certificate, key: PEM, this node's own.
        authority: PEM, whose certificates are believed; a peer without one is refused.
    """

    certificate: Path
    key: Path
    authority: Path

    def server(self) -> ssl.SSLContext:
        """Return the context of those who connect here; raises InputError where the files cannot be used."""
        return self._loaded(LateHandshake(ssl.PROTOCOL_TLS_SERVER))

    def client(self) -> ssl.SSLContext:
        """Return the context of those to whom results go; raises InputError where the files cannot be used."""
        return self._loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))

    def _loaded(self, context: ssl.SSLContext) -> ssl.SSLContext:
        try:
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_cert_chain(self.certificate, self.key)
            context.load_verify_locations(self.authority)
            context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ValueError) as error:
            raise InputError(
                "TLS cannot be used.",
                found=f"{self.certificate}, {self.key}, {self.authority}: {error}",
                expected="PEM files: a certificate, its key, and whom to believe",
            ) from error
        return context


class LateHandshake(ssl.SSLContext):
    """A context whose handshake is done by the thread of the connection, when it first reads: a peer that connects and
    says nothing would else keep everybody waiting."""

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        """Wrap a socket without a handshake.

        Args:
            args: as of `ssl.SSLContext.wrap_socket`.
            options: likewise.
        """
        return super().wrap_socket(*args, **{**options, "do_handshake_on_connect": False})


@dataclass(frozen=True)
class NodeSettings:
    """What a node is told.

    Attributes:
        folder: for everything that it keeps.
        models: run folders.
        send: where results go.
        host, port: where it listens.
        title: its own AE title.
        accept: AE titles that may send; () lets any, on loopback alone.
        tls: None on loopback.
        settle_s: after the release of an association, how long other associations may add to a study.
        quiet_s: how long after its last image a study is complete whose association was not released.
        hang_s: how long a peer may be silent before its association is ended.
        keep_s: after which a study's images are deleted.
        most_associations, most_bytes, most_images: at once; of an image; of a study.
        least_free_bytes: below which nothing is taken.
        enhanced, jpeg_ls: how results are written.
        device: see `synthesize.load_model`.
        back_off_s: the first wait before a retry; each further one is twice as long, up to an hour.
    """

    folder: Path
    models: tuple[Path, ...]
    send: tuple[Destination, ...]
    host: str = "127.0.0.1"
    port: int = 11112
    title: str = "MRSYNTH"
    accept: tuple[str, ...] = ()
    tls: Tls | None = None
    settle_s: float = 2.0
    quiet_s: float = 60.0
    hang_s: float = 60.0
    keep_s: float = 7 * 86400.0
    most_associations: int = 10
    most_bytes: int = GIB
    most_images: int = 20_000
    least_free_bytes: int = GIB
    enhanced: bool = False
    jpeg_ls: bool = False
    device: str | None = None
    back_off_s: float = 5.0

    def require_safe(self) -> None:
        """Raise InputError where patients' images would go over a network in the clear, or anybody could send."""
        title(self.title)
        for name in self.accept:
            title(name)
        if not is_loopback(self.host):
            if self.tls is None:
                raise _in_the_clear(f"--host {self.host}")
            if not self.accept:
                raise InputError(
                    f"--host {self.host}: anybody could send to this node.", do="name those who may with --accept AET"
                )
        for peer in self.send:
            if not is_loopback(peer.host) and not peer.is_encrypted and (self.tls is None or peer.url):
                raise _in_the_clear(f"--send {peer.name}")


def title(text: str) -> str:
    r"""Return an AE title; raises InputError for what is none (PS3.5: 1 to 16 characters, no \ and no control)."""
    if text.isascii() and text.isprintable() and "\\" not in text and 0 < len(text.strip()) <= 16:
        return text.strip()
    raise InputError(f"{text!r} is no AE title.", expected="1 to 16 ASCII characters, no backslash")


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine itself; a name is not looked up."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _in_the_clear(option: str) -> InputError:
    return InputError(
        f"{option}: images of patients would go over the network in the clear.",
        expected="a loopback address, or TLS",
        do="give --tls-cert, --tls-key and --tls-ca (an https:// address for DICOMweb)",
    )
