"""Certificates that nobody trusts, for ``Receiver(tls=...)``."""

from __future__ import annotations

import ssl
import tempfile
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path

_BEGIN, _LONG_OVER, _FAR_AHEAD = datetime(2000, 1, 1), datetime(2001, 1, 1), datetime(2100, 1, 1)  # noqa: DTZ001 - UTC is meant


def self_signed(host: str = "127.0.0.1", *, expired: bool = False) -> tuple[ssl.SSLContext, bytes]:
    """A server's context with a certificate for ``host`` (a name or an address), and the certificate (PEM) for those who shall
    trust it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEGIN)
        .not_valid_after(_LONG_OVER if expired else _FAR_AHEAD)
        .add_extension(x509.SubjectAlternativeName([_general_name(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "both.pem"
        file.write_bytes(private + pem)
        context.load_cert_chain(file)
    return context, pem


def _general_name(host: str):  # type: ignore[no-untyped-def]  # of a package that may be missing
    from cryptography import x509

    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
