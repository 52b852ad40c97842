"""What our authority signs, and what is believed of a certificate."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from broker.drivers.certificates import CertificateError, KeyPair, includes, make_authority, read, sign_host

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority() -> KeyPair:
    return make_authority("test", NOW)


@pytest.fixture(scope="module")
def host(authority: KeyPair) -> KeyPair:
    return sign_host(authority, "192.0.2.7", NOW)


def supplied(*names: x509.NameAttribute) -> bytes:
    """Somebody else's, which signed itself."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name(names)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_a_host_is_certified_for_its_address(authority: KeyPair, host: KeyPair) -> None:
    facts = read(authority.certificate, host.certificate, NOW)
    assert facts.subject == "O=Hotdesk,CN=192.0.2.7"
    assert facts.valid_until > NOW + timedelta(days=1800)
    names = x509.load_pem_x509_certificate(host.certificate).extensions
    addresses = names.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(one) for one in addresses.get_values_for_type(x509.IPAddress)] == ["192.0.2.7"]


def test_what_another_authority_signed_is_not_believed(authority: KeyPair, host: KeyPair) -> None:
    other = make_authority("test", NOW)
    with pytest.raises(CertificateError, match="signed"):
        read(other.certificate, host.certificate, NOW)
    assert read(other.certificate + authority.certificate, host.certificate, NOW)
    assert includes(other.certificate + authority.certificate, authority.certificate)
    assert not includes(other.certificate, authority.certificate)


@pytest.mark.parametrize("moment", [NOW - timedelta(days=1), NOW + timedelta(days=365 * 5)])
def test_a_certificate_counts_for_its_time(authority: KeyPair, host: KeyPair, moment: datetime) -> None:
    with pytest.raises(CertificateError, match="counts from"):
        read(authority.certificate, host.certificate, moment)


def test_the_parts_of_a_subject_keep_their_order_and_their_commas() -> None:
    own = supplied(
        x509.NameAttribute(NameOID.COUNTRY_NAME, "KR"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Desks, Chairs \\ Co"),
        x509.NameAttribute(NameOID.COMMON_NAME, "호스트"),
    )
    assert read(own, own, NOW).subject == "C=KR,O=Desks\\, Chairs \\\\ Co,CN=호스트"


@pytest.mark.parametrize(("authorities", "certificate"), [(b"", b"x"), (b"x", b""), (b"x", b"y")])
def test_what_is_no_certificate_is_refused(authorities: bytes, certificate: bytes) -> None:
    with pytest.raises(CertificateError, match="PEM"):
        read(authorities, certificate, NOW)


def test_who_is_nobody_is_refused() -> None:
    own = supplied()
    with pytest.raises(CertificateError, match="names nobody"):
        read(own, own, NOW)
