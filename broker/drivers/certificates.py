"""X.509 for encrypted displays: an authority, what it signs for hosts, and what viewers are told of a certificate."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_YEARS, HOST_YEARS = 10, 5
KEY_BITS = 3072
CLOCKS_DIFFER = timedelta(hours=1)
ORGANIZATION = "Hotdesk"


class CertificateError(Exception):
    """A certificate cannot be used; the text says why."""


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key, as PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True)
class CertificateFacts:
    """Whose a certificate is, the way SPICE viewers compare it, and until when it counts."""

    subject: str
    valid_until: datetime


def make_authority(name: str, now: datetime) -> KeyPair:
    """An authority of our own: it signs hosts and nothing below them."""
    key = _key()
    subject = _name(name)
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    extensions = [(x509.BasicConstraints(ca=True, path_length=0), True), (usage, True)]
    return _signed(subject, subject, key, key, now, AUTHORITY_YEARS, extensions)


def sign_host(authority: KeyPair, address: str, now: datetime) -> KeyPair:
    """A key and certificate for the host that viewers reach under this name or address."""
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    issuer_key = serialization.load_pem_private_key(authority.key, password=None)
    if not isinstance(issuer_key, rsa.RSAPrivateKey):
        raise CertificateError("The authority's key is no RSA key.")
    extensions = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.SubjectAlternativeName([_general_name(address)]), False),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
    ]
    return _signed(_name(address), issuer.subject, _key(), issuer_key, now, HOST_YEARS, extensions)


def read(authorities: bytes, certificate: bytes, now: datetime) -> CertificateFacts:
    """What a host's certificate says; CertificateError unless one of the authorities signed it and it counts now."""
    try:
        shown = x509.load_pem_x509_certificate(certificate)
        trusted = x509.load_pem_x509_certificates(authorities)
    except ValueError as error:
        raise CertificateError("This is no certificate in PEM.") from error
    if not any(_issued(shown, authority) for authority in trusted):
        raise CertificateError("None of the authorities signed this certificate itself.")
    if not shown.not_valid_before_utc <= now < shown.not_valid_after_utc:
        raise CertificateError(f"It counts from {shown.not_valid_before_utc} to {shown.not_valid_after_utc} only.")
    if not shown.subject.rdns:
        raise CertificateError("It names nobody: viewers compare its subject.")
    return CertificateFacts(_subject(shown.subject), shown.not_valid_after_utc)


def subject_of(certificate: bytes) -> str:
    """Whose a certificate is, that a display has shown, as DER."""
    return _subject(x509.load_der_x509_certificate(certificate).subject)


def subject_of_host(address: str) -> str:
    """Whose our own certificate for this address is."""
    return _subject(_name(address))


def includes(authorities: bytes, others: bytes) -> bool:
    """Whether all the others are among the authorities."""
    return set(x509.load_pem_x509_certificates(others)) <= set(x509.load_pem_x509_certificates(authorities))


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _subject(name: x509.Name) -> str:
    """In the order of the certificate, because viewers compare part by part; commas in a value are escaped."""
    parts = (attribute for rdn in name.rdns for attribute in rdn)
    return ",".join(f"{part.rfc4514_attribute_name}={_escaped(str(part.value))}" for part in parts)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(",", "\\,")


def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)


def _name(name: str) -> x509.Name:
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION)
    return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])  # 64 is X.509's limit


def _general_name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _signed(
    subject: x509.Name,
    issuer: x509.Name,
    key: rsa.RSAPrivateKey,
    issuer_key: rsa.RSAPrivateKey,
    now: datetime,
    years: int,
    extensions: Iterable[tuple[x509.ExtensionType, bool]],
) -> KeyPair:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_DIFFER)
        .not_valid_after(now + timedelta(days=365 * years))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return KeyPair(
        builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
