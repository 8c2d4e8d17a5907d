"""A server that speaks TLS as MySQL does, and then drips."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from typing import Self

from sqlalchemy import URL

__all__ = ["CIPHER", "DrippingTls"]

#: Without certificates, which nobody has to make then.
CIPHER = "AECDH-AES256-SHA:@SECLEVEL=0"
_DRIP_S = 0.1
#: The 41 protocol, TLS, passwords of 20 bytes, names of plug-ins.
_CAPABILITIES = 0x0008_8A00


def _greeting() -> bytes:
    low, high = _CAPABILITIES & 0xFFFF, _CAPABILITIES >> 16
    body = b"".join(
        (
            b"\x0a8.0.0\0" + bytes(4) + b"saltsalt\0",
            low.to_bytes(2, "little") + b"\x08" + bytes(2),
            high.to_bytes(2, "little") + bytes([21]) + bytes(10),
            b"saltsaltsalt\0" + b"mysql_native_password\0",
        )
    )
    return len(body).to_bytes(3, "little") + b"\0" + body


class DrippingTls:
    """
    A port of our own on 127.0.0.1; one client is served.

    Attributes:
        encrypted: whether a client has shaken hands.
    """

    def __init__(self) -> None:
        self.encrypted = False
        self._ended = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        # This wakes who waits in it, as close would not.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    @property
    def url(self) -> URL:
        """Where a driver finds it."""
        return URL.create(
            "mysql+pymysql",
            username="u",
            host="127.0.0.1",
            port=self._socket.getsockname()[1],
            database="d",
            query={"ssl_cipher": CIPHER},
        )

    def _serve(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHER)
        # The client goes when it likes.
        with contextlib.suppress(OSError):
            plain, _ = self._socket.accept()
            with plain:
                plain.sendall(_greeting())
                # It asks for TLS by a packet of this size.
                plain.recv(36, socket.MSG_WAITALL)
                with context.wrap_socket(plain, server_side=True) as client:
                    self.encrypted = True
                    # A packet that is long.
                    client.sendall(b"\xff\xff\0\3")
                    while not self._ended.wait(_DRIP_S):
                        client.sendall(b"x")
