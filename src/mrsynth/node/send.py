"""Sends a synthetic series: by C-STORE, or to a DICOMweb server by STOW-RS."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Sequence
from pathlib import Path

from pynetdicom import AE

from mrsynth.core.errors import OutputError
from mrsynth.io.dicom.received import read_syntax
from mrsynth.node.settings import Destination, NodeSettings

WARNINGS = range(0xB000, 0xC000)
"""Statuses of images that were stored, though not quite as they came."""

ANSWER_BYTES = 1 << 22


def send(files: Sequence[Path], peer: Destination, settings: NodeSettings) -> None:
    """Send a series, all of it.

    Args:
        files: DICOM files that mrsynth wrote, all of one kind.
        peer: where they go.
        settings: of the node: its title, TLS and how long a peer may be silent.

    Raises:
        OutputError: where the peer is not there, or does not take one of the images; those it took it may get again,
            with the same UIDs.
    """
    if peer.url:
        _stow(files, peer, settings)
    else:
        _store(files, peer, settings)


def _store(files: Sequence[Path], peer: Destination, settings: NodeSettings) -> None:
    """Send files in one association."""
    kind, syntax = read_syntax(files[0])
    entity = AE(settings.title)
    entity.network_timeout = entity.acse_timeout = entity.dimse_timeout = settings.hang_s
    entity.connection_timeout = settings.hang_s
    entity.add_requested_context(kind, syntax)
    tls = (settings.tls.client(), peer.host) if settings.tls and peer.title else None
    association = entity.associate(peer.host, peer.port, ae_title=peer.title, tls_args=tls)
    if not association.is_established:
        found = "it refuses the association" if association.is_rejected else "it does not answer"
        raise OutputError(f"{peer.name}: nothing can be sent.", found=found, do="check address, titles and TLS")
    try:
        if not association.accepted_contexts:
            raise OutputError(f"{peer.name}: takes no such images.", found=f"class {kind}, syntax {syntax}")
        for path in files:
            status = association.send_c_store(path).get("Status")
            if status != 0 and status not in WARNINGS:
                said = "no answer" if status is None else f"status 0x{status:04X}"
                raise OutputError(f"{peer.name}: does not take {path.name}.", found=said)
        association.release()
    finally:
        if association.is_established:
            association.abort()


def _stow(files: Sequence[Path], peer: Destination, settings: NodeSettings) -> None:
    """Send files in one request (PS3.18 10.5)."""
    mark = uuid.uuid4().hex
    head = f"--{mark}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = b"".join(head + path.read_bytes() + b"\r\n" for path in files) + f"--{mark}--\r\n".encode()
    kind = f'multipart/related; type="application/dicom"; boundary={mark}'
    headers = {"Content-Type": kind, "Accept": "application/dicom+json"}
    request = urllib.request.Request(f"{peer.url}/studies", body, headers, method="POST")
    context = settings.tls.client() if settings.tls and peer.is_encrypted else None
    try:
        with urllib.request.urlopen(request, timeout=settings.hang_s, context=context) as response:
            answer = json.loads(response.read(ANSWER_BYTES) or b"{}")
    except (OSError, ValueError) as error:
        raise OutputError(f"{peer.name}: nothing can be sent.", found=error, do="check the address") from error
    if isinstance(answer, dict) and (failed := answer.get("00081198", {}).get("Value")):
        raise OutputError(f"{peer.name}: does not take {len(failed)} of {len(files)} images.")
