from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mrsynth.core.errors import InputError
from mrsynth.node.settings import Destination, NodeSettings, Tls, is_loopback

TLS = Tls(Path("c"), Path("k"), Path("a"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("PACS@10.0.0.1:104", Destination("10.0.0.1", 104, "PACS")),
        ("MY PACS@pacs.example:11112", Destination("pacs.example", 11112, "MY PACS")),
        ("A@[::1]:104", Destination("::1", 104, "A")),
        ("https://h.example/dicom-web/", Destination("h.example", 443, url="https://h.example/dicom-web")),
        ("http://127.0.0.1:8042/dicom-web", Destination("127.0.0.1", 8042, url="http://127.0.0.1:8042/dicom-web")),
    ],
)
def test_a_peer_is_named_in_two_ways(text: str, found: Destination):
    assert Destination.parse(text) == found


@pytest.mark.parametrize(
    "text",
    [
        *("", "PACS", "PACS@host", "PACS@host:0", "PACS@host:99999", "@host:1", "x" * 17 + "@h:1", "a\\b@h:1"),
        *("ftp://h/x", "http://", "http://h:99999999/x", "https://h/x?y=1", "PACS@ho st:1", "PÄCS@h:1"),
    ],
)
def test_what_is_no_peer_is_refused(text: str):
    with pytest.raises(InputError):
        Destination.parse(text)


def node(**changes: object) -> NodeSettings:
    return replace(NodeSettings(Path("n"), (), (Destination("127.0.0.1", 1, "PACS"),)), **changes)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"host": "0.0.0.0", "accept": ("CT1",)}, "in the clear"),
        ({"host": "0.0.0.0", "tls": TLS}, "--accept"),
        ({"send": (Destination("10.0.0.1", 104, "PACS"),)}, "in the clear"),
        ({"send": (Destination("10.0.0.1", 80, url="http://10.0.0.1/dicom-web"),), "tls": TLS}, "in the clear"),
        ({"title": "x" * 17}, "AE title"),
        ({"accept": ("a\\b",)}, "AE title"),
    ],
)
def test_nothing_of_a_patient_goes_over_a_network_in_the_clear(changes: dict[str, object], why: str):
    with pytest.raises(InputError, match=why):
        node(**changes).require_safe()


def test_what_is_safe_is_let():
    node().require_safe()
    node(host="0.0.0.0", accept=("CT1",), tls=TLS).require_safe()
    node(send=(Destination("10.0.0.1", 104, "PACS"),), tls=TLS).require_safe()
    node(send=(Destination("h", 443, url="https://h/dicom-web"),)).require_safe()
    assert [is_loopback(host) for host in ("127.0.0.5", "::1", "localhost", "10.0.0.1", "evil.localhost.example")] == [
        True,
        True,
        True,
        False,
        False,
    ]
