# SPDX-License-Identifier: Apache-2.0
"""Signing a report with a standard PDF signature, and checking one, both without a network.

The signature is PAdES baseline B-B (ETSI EN 319 142-1): a CMS object over every byte of the file but itself, added as
an incremental update of the unsigned document. It certifies the document with "no changes allowed", so that a PDF
reader reports any later revision. Time and identifiers come from the report, so that the same report has the same
bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
from datetime import datetime
from typing import Any

import asn1crypto.x509
from asn1crypto import cms, keys
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.misc import PdfReadError
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.fields import InvisSigSettings, MDPPerm, SigFieldSpec, SigSeedSubFilter
from pyhanko.sign.signers import SimpleSigner
from pyhanko.sign.signers.cms_embedder import PdfCMSEmbedder, SigIOSetup, SigMDPSetup, SigObjSetup
from pyhanko.sign.signers.pdf_byterange import SignatureObject
from pyhanko.sign.validation import EmbeddedPdfSignature, SignatureCoverageLevel, validate_pdf_signature
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.registry import SimpleCertificateStore

from medhub.errors import Conflict, Invalid
from medhub.reports.certificate import SigningCredentials, fingerprint, is_self_signed
from medhub.reports.embedded_record import FACTS_PREFIX, read_record
from medhub.reports.verification_result import TrustedKeys, Verification, describe_record

_FIELD = "Signature"
_RESERVED_DIGITS = 4096
_DIGEST = "sha256"
_ALTERED = "This file was changed after it was signed: its signature was altered."


class AlreadySigned(Conflict):
    """The report carries a signature; a second one would replace what the first one certifies."""


class _Signer(SimpleSigner):
    """pyHanko's signer with deterministic ECDSA (RFC 6979)."""

    def __init__(self, credentials: SigningCredentials) -> None:
        self._private_key = credentials.private_key
        pkcs8 = credentials.private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        super().__init__(
            signing_cert=_to_asn1(credentials.certificate),
            signing_key=keys.PrivateKeyInfo.load(pkcs8),
            cert_registry=SimpleCertificateStore(),  # type: ignore[no-untyped-call]
        )

    def sign_raw(self, data: bytes, digest_algorithm: str) -> bytes:
        return self._private_key.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


class _ReportWriter(IncrementalPdfFileWriter):
    """pyHanko's writer without the current time and random identifiers.

    The revision has the metadata of the unsigned document, which stays PDF/A, and an identifier derived from it.
    """

    @classmethod
    def _handle_id(cls, prev: PdfFileReader) -> generic.ArrayObject:
        prev.stream.seek(0)
        revision_id = hashlib.sha256(b"signed revision of " + prev.stream.read()).digest()[:16]
        first_id = prev.trailer["/ID"][0]
        original = first_id.original_bytes if isinstance(first_id, generic.TextStringObject) else bytes(first_id)
        return generic.ArrayObject([generic.ByteStringObject(original), generic.ByteStringObject(revision_id)])

    def _update_meta(self) -> None:
        """Leave the dates as the document states them."""


def sign_report(pdf: bytes, credentials: SigningCredentials, issued_at: datetime) -> bytes:
    """Return the report with its signature; ``Invalid`` if it is no report, ``AlreadySigned`` if it has a signature."""
    try:
        if FACTS_PREFIX.encode() not in pdf:
            raise PdfReadError("no digest of facts")
        writer = _ReportWriter(io.BytesIO(pdf))
    except PdfReadError as error:
        raise Invalid("This file is not a report of Medhub: it cannot be signed.") from error
    if writer.prev.embedded_signatures:
        raise AlreadySigned("This report is signed already.")
    field = SigFieldSpec(
        _FIELD,
        readable_field_name="Signature of the report",
        # Without size and off the page: PDF/A and PDF/UA then ask for no appearance and no tag.
        invis_sig_settings=InvisSigSettings(set_print_flag=True, set_hidden_flag=False, box_out_of_bounds=True),
    )
    embedder = PdfCMSEmbedder(new_field_spec=field).write_cms(field_name=_FIELD, writer=writer)
    next(embedder)
    placeholder = SignatureObject(
        timestamp=issued_at,
        subfilter=SigSeedSubFilter.PADES,
        reason="Report issued by Medhub",
        bytes_reserved=_RESERVED_DIGITS,
    )
    mdp = SigMDPSetup(md_algorithm=_DIGEST, certify=True, docmdp_perms=MDPPerm.NO_CHANGES)
    embedder.send(SigObjSetup(sig_placeholder=placeholder, mdp_setup=mdp))
    prepared, output = embedder.send(SigIOSetup(md_algorithm=_DIGEST))
    signature = asyncio.run(
        _Signer(credentials).async_sign(prepared.document_digest, digest_algorithm=_DIGEST, use_pades=True)
    )
    prepared.fill_with_cms(output, signature)
    return bytes(output.getvalue())


def check_signature(pdf: bytes, trusted: TrustedKeys) -> Verification:
    """Tell whether a report is as it was signed and, given a certificate to trust, whether its key signed it."""
    try:
        signatures = PdfFileReader(io.BytesIO(pdf), strict=False).embedded_signatures
        count = len(signatures)
    except Exception:  # a damaged or hostile file may break the parser in any way
        return _refuse("This PDF is damaged: its signature cannot be read.", trusted)
    if count == 0:
        return _refuse(
            "This PDF carries no signature of Medhub, or its signature was removed: nothing can be said about it.",
            trusted,
        )
    if count > 1:
        return _refuse(f"This PDF carries {count} signatures, and a report has one: it was changed.", trusted)
    try:
        return _check_embedded(pdf, signatures[0], trusted)
    except Exception:
        return _refuse("This file was changed after it was signed: its signature cannot be read.", trusted)


def _check_embedded(pdf: bytes, embedded: EmbeddedPdfSignature, trusted: TrustedKeys) -> Verification:
    start, end = _signature_gap(pdf, embedded)
    digest = hashlib.sha256(pdf[:start] + pdf[end:]).hexdigest()
    certificate = x509.load_der_x509_certificate(embedded.signer_cert.dump())
    if end == 0:
        return _refuse("This file was changed after it was signed: its signature does not cover it.", trusted)
    if not _is_canonical(pdf[start:end]):
        return _refuse(_ALTERED, trusted, digest, certificate)
    if not is_self_signed(certificate):
        return _refuse("The certificate of this signature is not one of Medhub.", trusted, digest, certificate)
    context = ValidationContext(
        trust_roots=[_to_asn1(certificate)], allow_fetching=False, revocation_mode="soft-fail", other_certs=[]
    )
    status = validate_pdf_signature(embedded, signer_validation_context=context)
    if not (status.intact and status.valid and status.coverage == SignatureCoverageLevel.ENTIRE_FILE):
        return _refuse("This file was changed after it was signed.", trusted, digest, certificate)
    authentic = None
    if trusted:
        authentic = trusted.certificate == certificate
    record, matches = read_record(pdf)
    name = fingerprint(certificate)
    return Verification(
        intact=True,
        authentic=authentic,
        digest=digest,
        key_id=name[:16],
        reason=describe_record(_describe_certificate(authentic, name), matches),
        record=record,
        facts_digest_matches=matches,
        method="signature",
        certificate_fingerprint=name,
    )


def _signature_gap(pdf: bytes, embedded: EmbeddedPdfSignature) -> tuple[int, int]:
    """Return where the file holds the signature itself; zeros if the signature does not cover all other bytes."""
    byte_range = [int(value) for value in embedded.byte_range]
    if len(byte_range) != 4 or min(byte_range) < 0:
        return 0, 0
    first, start, end, length = byte_range
    return (start, end) if first == 0 and start < end and end + length == len(pdf) else (0, 0)


def _is_canonical(gap: bytes) -> bool:
    """Tell whether the bytes outside the signed range are exactly those that ``sign_report`` writes.

    CMS leaves some fields unsigned (versions, algorithm lists, unsigned attributes, padding). All of them follow from
    the certificate, the signed attributes and the signature, so that no byte of the file can be changed unnoticed.
    """
    content = cms.ContentInfo.load(bytes.fromhex(gap[1:-1].decode()), strict=False)
    signed_data = content["content"]
    (signer_info,) = signed_data["signer_infos"]
    (certificate,) = signed_data["certificates"]
    algorithm = {"algorithm": _DIGEST}
    expected = cms.ContentInfo(
        {
            "content_type": "signed_data",
            "content": cms.SignedData(
                {
                    "version": "v1",
                    "digest_algorithms": [algorithm],
                    "encap_content_info": {"content_type": "data"},
                    "certificates": [certificate],
                    "signer_infos": [
                        {
                            "version": "v1",
                            "sid": cms.SignerIdentifier(
                                {
                                    "issuer_and_serial_number": {
                                        "issuer": certificate.chosen.issuer,
                                        "serial_number": certificate.chosen.serial_number,
                                    }
                                }
                            ),
                            "digest_algorithm": algorithm,
                            "signed_attrs": signer_info["signed_attrs"],
                            "signature_algorithm": {"algorithm": "sha256_ecdsa"},
                            "signature": signer_info["signature"],
                        }
                    ],
                }
            ),
        }
    )
    digits = expected.dump().hex().upper().encode()
    return bool(gap == b"<" + digits.ljust(len(gap) - 2, b"0") + b">")


def _describe_certificate(authentic: bool | None, name: str) -> str:
    if authentic is False:
        return (
            f"Every byte is as it was signed, but with another certificate ({name[:16]}) than the trusted one: "
            "do not trust it."
        )
    if authentic:
        return f"Every byte is as it was issued, and the trusted certificate ({name[:16]}) signed it."
    return (
        f"Every byte is as it was signed with the certificate {name[:16]}; "
        "whose certificate that is can only be known from a source that you trust."
    )


def _refuse(
    reason: str, trusted: TrustedKeys, digest: str | None = None, certificate: x509.Certificate | None = None
) -> Verification:
    name = fingerprint(certificate) if certificate is not None else None
    return Verification(
        intact=False,
        authentic=False if trusted else None,
        digest=digest,
        key_id=name and name[:16],
        reason=reason,
        method="signature" if digest else None,
        certificate_fingerprint=name,
    )


def _to_asn1(certificate: x509.Certificate) -> Any:
    return asn1crypto.x509.Certificate.load(certificate.public_bytes(Encoding.DER))
