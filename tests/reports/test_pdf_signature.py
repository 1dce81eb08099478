# SPDX-License-Identifier: Apache-2.0
"""The PDF signature of reports: what it covers, what it detects, and that other readers accept it."""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign.fields import SigFieldSpec
from pyhanko.sign.signers.cms_embedder import PdfCMSEmbedder, SigIOSetup, SigObjSetup
from pyhanko.sign.signers.pdf_byterange import SignatureObject
from pypdf import PdfReader

from medhub.errors import Conflict, Invalid, NotFound
from medhub.foundation.keys import Keys
from medhub.reports.certificate import derive_credentials, fingerprint, read_certificate
from medhub.reports.document import ReportFacts, facts_digest, facts_record, render
from medhub.reports.keyword_seal import BLANK_SEAL
from medhub.reports.pdf_signature import _Signer, sign_report
from medhub.reports.verification import verify_report
from medhub.reports.verification_result import TrustedKeys
from tests.conftest import missing
from tests.reports.conftest import NOON

FactsMaker = Callable[..., ReportFacts]

OWN = derive_credentials(Keys(b"\x01" * 32))
OTHER = derive_credentials(Keys(b"\x02" * 32))
TRUSTED = TrustedKeys(OWN.certificate)
NOTHING = TrustedKeys()


@pytest.fixture(scope="module")
def facts(make_facts: FactsMaker) -> ReportFacts:
    return make_facts(2)


@pytest.fixture(scope="module")
def draft(facts: ReportFacts) -> bytes:
    return render(facts)


@pytest.fixture(scope="module")
def signed(draft: bytes, facts: ReportFacts) -> bytes:
    return sign_report(draft, OWN, facts.issued_at)


def contents_span(pdf: bytes) -> tuple[int, int]:
    """Where the hexadecimal digits of the signature are."""
    match = re.search(rb"/Contents <([0-9A-F]+)>", pdf)
    assert match is not None
    return match.span(1)


def replace_cms(pdf: bytes, change: Callable[[cms.ContentInfo], None]) -> bytes:
    """The file with its CMS object changed, at the same length of the file."""
    start, end = contents_span(pdf)
    content = cms.ContentInfo.load(bytes.fromhex(pdf[start:end].decode()), strict=False)
    change(content)
    digits: bytes = content.dump(force=True).hex().upper().encode()
    return pdf[:start] + digits.ljust(end - start, b"0") + pdf[end:]


def test_a_signed_report_is_intact_authentic_and_carries_its_record(facts: ReportFacts, signed: bytes) -> None:
    result = verify_report(signed, TRUSTED)
    assert result.intact
    assert result.authentic is True
    assert result.method == "signature"
    assert result.certificate_fingerprint == fingerprint(OWN.certificate)
    assert result.record == facts_record(facts)
    assert result.facts_digest_matches is True
    assert result.record is not None
    assert facts_digest(result.record) in signed.decode("latin-1")
    start, end = contents_span(signed)
    assert result.digest == hashlib.sha256(signed[: start - 1] + signed[end + 1 :]).hexdigest()


def test_signing_appends_to_the_document_and_always_the_same(draft: bytes, signed: bytes, facts: ReportFacts) -> None:
    assert signed.startswith(draft)
    assert sign_report(draft, OWN, facts.issued_at) == signed
    assert len(signed) - len(draft) < 8_000
    assert sign_report(draft, OWN, facts.issued_at + timedelta(seconds=1)) != signed


def test_the_certificate_follows_from_the_master_key() -> None:
    again = derive_credentials(Keys(b"\x01" * 32)).certificate
    assert again == OWN.certificate
    assert OTHER.certificate != OWN.certificate
    assert OTHER.certificate.subject != OWN.certificate.subject
    again.verify_directly_issued_by(again)


def test_metadata_and_structure_of_the_document_stay_as_they_were(draft: bytes, signed: bytes) -> None:
    before, after = PdfReader(io.BytesIO(draft)), PdfReader(io.BytesIO(signed))
    assert after.metadata == before.metadata
    assert after.xmp_metadata is not None
    assert before.xmp_metadata is not None
    assert bytes(after.xmp_metadata.stream.get_data()) == bytes(before.xmp_metadata.stream.get_data())
    assert [page.extract_text() for page in after.pages] == [page.extract_text() for page in before.pages]
    field = after.trailer["/Root"]["/AcroForm"]["/Fields"][0].get_object()  # type: ignore[index]
    assert field["/F"] == 4 + 128  # printed and locked; neither hidden nor without a view, as PDF/A asks
    assert field["/TU"] == "Signature of the report"


def test_without_a_certificate_it_is_intact_but_nobody_knows_whose(signed: bytes) -> None:
    result = verify_report(signed, NOTHING)
    assert result.intact
    assert result.authentic is None
    assert "can only be known from a source that you trust" in result.reason


def test_under_another_certificate_it_is_not_authentic(draft: bytes, signed: bytes) -> None:
    assert verify_report(signed, TrustedKeys(OTHER.certificate)).authentic is False
    forged = verify_report(sign_report(draft, OTHER, NOON), TRUSTED)
    assert forged.intact
    assert forged.authentic is False
    assert "do not trust it" in forged.reason


def test_a_certificate_of_the_same_name_is_another_certificate(draft: bytes) -> None:
    """A forger copies every field of the certificate but cannot sign with its key."""
    own = OWN.certificate
    copied = (
        x509.CertificateBuilder()
        .subject_name(own.subject)
        .issuer_name(own.issuer)
        .public_key(OTHER.private_key.public_key())
        .serial_number(own.serial_number)
        .not_valid_before(own.not_valid_before_utc)
        .not_valid_after(own.not_valid_after_utc)
    )
    for extension in own.extensions:
        copied = copied.add_extension(extension.value, extension.critical)
    certificate = copied.sign(OTHER.private_key, hashes.SHA256())
    forged = verify_report(sign_report(draft, type(OWN)(OTHER.private_key, certificate), NOON), TRUSTED)
    assert (forged.intact, forged.authentic) == (True, False)


def test_a_signature_under_a_certificate_that_is_not_of_its_key_is_refused(draft: bytes) -> None:
    forged = sign_report(draft, type(OWN)(OTHER.private_key, OWN.certificate), NOON)
    result = verify_report(forged, TRUSTED)
    assert (result.intact, result.authentic) == (False, False)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_found(signed: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(signed) - 1))
    change = data.draw(st.integers(1, 255))
    broken = bytearray(signed)
    broken[at] ^= change
    result = verify_report(bytes(broken), TRUSTED)
    assert not result.intact
    assert result.authentic is False


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_each_byte_of_the_signature_itself_counts(signed: bytes, data: st.DataObject) -> None:
    start, end = contents_span(signed)
    at = data.draw(st.integers(start - 1, end))
    broken = bytearray(signed)
    broken[at] ^= data.draw(st.sampled_from((1, 2, 32, 128)))
    assert not verify_report(bytes(broken), NOTHING).intact
    # Another digit, so that the file still has the form of a signature.
    broken = bytearray(signed)
    at = data.draw(st.integers(start, end - 1))
    digits = b"0123456789ABCDEF".replace(signed[at : at + 1], b"")
    broken[at] = data.draw(st.sampled_from(digits))
    assert not verify_report(bytes(broken), NOTHING).intact


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_added_or_removed_byte_is_found(signed: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(signed)))
    extra = data.draw(st.binary(min_size=1, max_size=3))
    assert not verify_report(signed[:at] + extra + signed[at:], NOTHING).intact
    cut = data.draw(st.integers(0, len(signed) - 1))
    assert not verify_report(signed[:cut] + signed[cut + 1 :], NOTHING).intact
    assert not verify_report(signed[:cut], NOTHING).intact


def test_bytes_appended_to_the_file_are_found(signed: bytes) -> None:
    for extra in (b"\n", b" ", b"\n1 0 obj\n<<>>\nendobj\nstartxref\n0\n%%EOF\n"):
        result = verify_report(signed + extra, TRUSTED)
        assert (result.intact, result.authentic) == (False, False)


def test_a_revision_that_changes_a_page_is_found(signed: bytes) -> None:
    """An incremental update leaves every signed byte as it was, and shows another page."""
    writer = IncrementalPdfFileWriter(io.BytesIO(signed))
    page = writer.root["/Pages"]["/Kids"][0]
    page["/Contents"] = writer.add_object(generic.StreamObject(stream_data=b"BT (Benign) Tj ET"))
    writer.update_container(page)
    out = io.BytesIO()
    writer.write(out)  # type: ignore[no-untyped-call]
    assert out.getvalue().startswith(signed)
    result = verify_report(out.getvalue(), TRUSTED)
    assert (result.intact, result.authentic) == (False, False)
    assert "does not cover" in result.reason


def test_a_revision_with_only_new_metadata_is_found(signed: bytes) -> None:
    writer = IncrementalPdfFileWriter(io.BytesIO(signed))
    writer.root["/Lang"] = generic.TextStringObject("ms")
    writer.update_root()  # type: ignore[no-untyped-call]
    out = io.BytesIO()
    writer.write(out)  # type: ignore[no-untyped-call]
    assert not verify_report(out.getvalue(), TRUSTED).intact


def test_a_second_signature_is_found(signed: bytes) -> None:
    # pyHanko itself refuses to sign a document whose certification forbids changes.
    writer = IncrementalPdfFileWriter(io.BytesIO(signed))
    embedder = PdfCMSEmbedder(SigFieldSpec("Second")).write_cms(field_name="Second", writer=writer)
    next(embedder)
    embedder.send(SigObjSetup(SignatureObject(timestamp=NOON, bytes_reserved=4096)))
    prepared, out = embedder.send(SigIOSetup(md_algorithm="sha256"))
    signature = asyncio.run(_Signer(OTHER).async_sign(prepared.document_digest, "sha256", use_pades=True))
    prepared.fill_with_cms(out, signature)
    result = verify_report(out.getvalue(), TRUSTED)
    assert (result.intact, result.authentic) == (False, False)
    assert "2 signatures" in result.reason


def test_a_removed_signature_is_found(draft: bytes, signed: bytes) -> None:
    for removed in (draft, signed.replace(b"/FT /Sig", b"/FT /Txt"), signed.replace(b"/AcroForm", b"/AcroFarm")):
        result = verify_report(removed, TRUSTED)
        assert (result.intact, result.authentic) == (False, False)
    assert "carries no signature" in verify_report(draft, TRUSTED).reason


def test_a_signature_moved_to_another_report_is_found(make_facts: FactsMaker, signed: bytes) -> None:
    other = sign_report(render(make_facts(2, version=2)), OWN, NOON)
    start, end = contents_span(signed)
    at, until = contents_span(other)
    moved = other[:at] + signed[start:end] + other[until:]
    assert len(moved) == len(other)
    assert not verify_report(moved, TRUSTED).intact


def test_a_range_that_leaves_bytes_out_is_found(signed: bytes) -> None:
    match = re.search(rb"/ByteRange \[([0-9 ]+)\]", signed)
    assert match is not None
    first, length, second, rest = (int(value) for value in match[1].split())
    for changed in (
        (first, length - 9, second, rest),
        (first, length, second + 9, rest - 9),
        (9, length - 9, second, rest),
    ):
        text = b"/ByteRange [" + b" ".join(b"%d" % value for value in changed)
        text = text.ljust(len(match[0]) - 1) + b"]"
        assert not verify_report(signed.replace(match[0], text), TRUSTED).intact


def test_unsigned_attributes_and_further_certificates_are_found(signed: bytes) -> None:
    def add_attribute(content: cms.ContentInfo) -> None:
        attributes = [{"type": "1.2.3.4", "values": [cms.OctetString(b"hidden")]}]
        content["content"]["signer_infos"][0]["unsigned_attrs"] = attributes

    def add_certificate(content: cms.ContentInfo) -> None:
        der = OTHER.certificate.public_bytes(Encoding.DER)
        content["content"]["certificates"].append(cms.CertificateChoices.load(der))

    def change_algorithms(content: cms.ContentInfo) -> None:
        content["content"]["digest_algorithms"] = [{"algorithm": "sha512"}]

    assert replace_cms(signed, lambda content: None) == signed
    for change in (add_attribute, add_certificate, change_algorithms):
        changed = replace_cms(signed, change)
        assert changed != signed
        result = verify_report(changed, TRUSTED)
        assert (result.intact, result.authentic) == (False, False)


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(100), b"PK\x03\x04" + bytes(50)])
def test_what_is_no_pdf_is_called_so(data: bytes) -> None:
    result = verify_report(data, NOTHING)
    assert not result.intact
    assert result.digest is None
    assert result.reason == "This is not a PDF file."


def test_a_pdf_without_a_signature_is_called_so(draft: bytes) -> None:
    damaged = verify_report(b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n%%EOF", TRUSTED)
    assert (damaged.intact, damaged.authentic) == (False, False)
    result = verify_report(draft, NOTHING)
    assert (result.intact, result.authentic) == (False, None)
    assert "carries no signature" in result.reason


def test_a_report_is_signed_once_and_nothing_else_can_be(signed: bytes) -> None:
    with pytest.raises(Conflict, match="signed already"):
        sign_report(signed, OTHER, NOON)
    for other in (b"%PDF-1.7\n%%EOF", b"%PDF-1.7\nmedhub-facts:\n%%EOF"):
        with pytest.raises(Invalid, match="not a report of Medhub"):
            sign_report(other, OWN, NOON)


def test_signatures_and_seals_written_into_a_note_change_nothing(make_facts: FactsMaker) -> None:
    for fake in (
        f"/Keywords({BLANK_SEAL})",
        f"<pdf:Keywords>{BLANK_SEAL}",
        "/ByteRange [0 10 20 30]",
        "/Contents <3082> /Type /Sig",
    ):
        facts = make_facts(
            1,
            case_id=fake,
            pathway_title=fake,
            project=fake,
            institution=fake,
            each={"verdict_note": fake, "verdict_label": fake, "classifier_label": fake},
        )
        result = verify_report(sign_report(render(facts), OWN, NOON), TRUSTED)
        assert result.intact
        assert result.authentic
        assert result.facts_digest_matches


def test_a_record_exchanged_before_signing_does_not_match_the_pages(make_facts: FactsMaker) -> None:
    facts = make_facts(1)
    digest = facts_digest(facts_record(facts)).encode()
    forged = render(facts).replace(b"medhub-facts:" + digest, b"medhub-facts:" + digest[::-1])
    result = verify_report(sign_report(forged, OWN, NOON), TRUSTED)
    assert result.intact
    assert result.facts_digest_matches is False
    assert "does not have the digest" in result.reason


def test_a_certificate_is_read_as_pem_or_der_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "issuer.pem"
    for encoding in (Encoding.PEM, Encoding.DER):
        path.write_bytes(OWN.certificate.public_bytes(encoding))
        assert read_certificate(path) == OWN.certificate
    path.write_text("no certificate")
    with pytest.raises(Invalid, match="contains no certificate"):
        read_certificate(path)
    with pytest.raises(NotFound, match="cannot be read"):
        read_certificate(tmp_path / "none.pem")


def run_pdfsig(pdf: bytes, folder: Path) -> str:
    if shutil.which("pdfsig") is None:
        missing("pdfsig (poppler-utils)")
    path = folder / "report.pdf"
    path.write_bytes(pdf)
    return subprocess.run(["pdfsig", str(path)], capture_output=True, text=True, check=False, timeout=60).stdout


def test_another_pdf_reader_accepts_the_signature_and_rejects_changes(signed: bytes, tmp_path: Path) -> None:
    text = run_pdfsig(signed, tmp_path)
    assert "Signature is Valid." in text
    assert "Total document signed" in text
    assert "ETSI.CAdES.detached" in text
    assert "Certificate issuer is unknown." in text  # self-signed: a reader must import the certificate to trust it
    changed = signed.replace(b"/Lang (en)", b"/Lang (ms)", 1)
    assert changed != signed
    assert "Digest Mismatch" in run_pdfsig(changed, tmp_path)
    assert "Not total document signed" in run_pdfsig(signed + b"\n%%EOF\n", tmp_path) or "Total document" not in (
        run_pdfsig(signed + b"\n%%EOF\n", tmp_path)
    )
