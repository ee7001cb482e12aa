"""Takes studies: a DICOM C-STORE and C-ECHO provider that writes what it gets and decides nothing."""

from __future__ import annotations

import logging
import shutil
from collections import defaultdict
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification

from mrsynth.core.errors import OutputError
from mrsynth.core.files import printable
from mrsynth.io.dicom.file import Damaged
from mrsynth.io.dicom.received import IMAGE_CLASSES, TRANSFER_SYNTAXES, look
from mrsynth.node.queue import Queue, digest
from mrsynth.node.settings import NodeSettings

LOG = logging.getLogger("mrsynth.node")

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
WRONG_CLASS = 0xA900
CANNOT_UNDERSTAND = 0xC000
"""Statuses of C-STORE (PS3.4 B.2.3)."""

PDU_BYTES = 1 << 17
"""Of one protocol data unit that a peer may send; a larger one ends its connection unread."""


class Receiver:
    """Listens until it is closed.

    Args:
        settings: of the node.
        queue: where images go.

    Raises:
        InputError: where TLS cannot be used.
        OutputError: where it cannot listen.
    """

    def __init__(self, settings: NodeSettings, queue: Queue) -> None:
        self.settings, self.queue = settings, queue
        self.sent: dict[Any, set[str]] = defaultdict(set)
        self.bytes: dict[Any, int] = defaultdict(int)
        self.entity = AE(settings.title)
        self.entity.require_called_aet = True
        self.entity.require_calling_aet = list(settings.accept)
        self.entity.maximum_associations = settings.most_associations
        self.entity.maximum_pdu_size = PDU_BYTES
        self.entity.network_timeout = self.entity.acse_timeout = self.entity.dimse_timeout = settings.hang_s
        self.entity.add_supported_context(Verification)
        for kind in IMAGE_CLASSES:
            self.entity.add_supported_context(kind, list(TRANSFER_SYNTAXES))
        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, self._opened),
            (evt.EVT_CONN_CLOSE, self._closed),
            (evt.EVT_PDU_RECV, self._counted),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_RELEASED, self._released),
            (evt.EVT_REJECTED, lambda event: self._refused(event, "it is not on the list, or there are too many")),
            (evt.EVT_ABORTED, lambda event: self._refused(event, "it broke off, or was silent or too large")),
        ]
        tls = settings.tls.server() if settings.tls else None
        try:
            address = (settings.host, settings.port)
            self.server = self.entity.start_server(address, block=False, ssl_context=tls, evt_handlers=handlers)
        except OSError as error:
            raise OutputError(
                f"Nothing can listen on {settings.host}:{settings.port}.",
                found=(error.strerror or str(error)).lower(),
                do="name another port with --listen, or end what listens there",
            ) from error

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return int(self.server.socket.getsockname()[1])

    def close(self) -> None:
        """Listen no more; associations that are open are ended."""
        self.server.shutdown()
        for association in self.server.active_associations:
            association.abort()

    def _opened(self, event: Any) -> None:
        """Bound what a peer can cost that has said nothing of itself yet: time, and the size of a unit."""
        connection = event.assoc.dul.socket
        connection.socket.settimeout(self.settings.hang_s)
        take = connection.recv

        def limited(count: int) -> bytearray:
            if count > PDU_BYTES + 1024:
                raise OSError("a protocol data unit that is too large")
            return bytearray(take(count))

        connection.recv = limited

    def _closed(self, event: Any) -> None:
        self.sent.pop(event.assoc, None)
        self.bytes.pop(event.assoc, None)

    def _counted(self, event: Any) -> None:
        """End an association whose images, whole or not, take more memory than the limit; the first byte of each part
        says whether it is of a data set (PS3.8 E.2)."""
        items = getattr(event.pdu, "presentation_data_value_items", ())
        parts = [item.presentation_data_value for item in items]
        self.bytes[event.assoc] += sum(len(part) - 1 for part in parts if part and not part[0] & 1)
        if self.bytes[event.assoc] > self.settings.most_bytes:
            LOG.warning("an image of more than %d bytes: association ended", self.settings.most_bytes)
            event.assoc.abort()

    def _store(self, event: Any) -> int:
        """Answer C-STORE: keep the image and say so, or say with which status not."""
        self.bytes[event.assoc] -= event.request.DataSet.getbuffer().nbytes
        try:
            content = event.encoded_dataset()
            image = look(content)
            if image.sop_class != event.request.AffectedSOPClassUID:
                return WRONG_CLASS
            if image.instance != event.request.AffectedSOPInstanceUID:
                return WRONG_CLASS
            if self.free() < self.settings.least_free_bytes:
                raise OutputError("The disk is nearly full.")
            put = self.queue.put(image.study, image.instance, content, self.settings.most_images)
        except Damaged as error:
            LOG.warning("an image is refused: %s", printable(error))
            return CANNOT_UNDERSTAND
        except (OutputError, OSError) as error:
            LOG.error("an image is refused: %s", printable(error))
            return OUT_OF_RESOURCES
        self.sent[event.assoc].add(image.study)
        if put == "other":
            LOG.warning("study %s: another image of a UID that is there already is refused", digest(image.study)[:12])
            return CANNOT_UNDERSTAND
        return SUCCESS

    def free(self) -> int:
        """Return how many bytes are free where images go."""
        return shutil.disk_usage(self.settings.folder).free

    def _released(self, event: Any) -> None:
        studies = self.sent.pop(event.assoc, set())
        self.queue.release(studies)
        for uid in studies:
            key = digest(uid)
            LOG.info("study %s: %d images received", key[:12], self.queue.studies[key].images)

    def _refused(self, event: Any, why: str) -> None:
        peer = event.assoc.requestor
        LOG.warning("association with %s at %s ended: %s", printable(peer.ae_title), peer.address, why)
