# SPDX-License-Identifier: Apache-2.0
"""One small DICOM object of each kind, each naming a person wherever it can."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
from pydicom import DataElement, Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pypdf import PdfReader, PdfWriter
from pypdf.generic import DictionaryObject, NameObject, TextStringObject

NAME = "Rahman^Aisha"
NUMBER = "H-4711"
_STORAGE = "1.2.840.10008.5.1.4.1.1"


def written(dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """Write an object as a file."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def named(sop_class: str, modality: str, number: int, **attributes: Any) -> Dataset:
    """An object of a class, of a patient and study that all objects here share."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = f"{_STORAGE}.{sop_class}", f"1.2.3.77.{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3.77", f"1.2.3.77.0.{number}"
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = NAME, NUMBER, "19800412"
    dataset.PatientSex, dataset.StudyDate, dataset.StudyTime = "F", "20260103", "101500"
    dataset.ContentDate, dataset.ContentTime = "20260103", "101800"
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = modality, number, 1
    dataset.InstitutionName, dataset.ReferringPhysicianName = "St. Example Hospital", "House^Gregory"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """A code."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _item(**attributes: Any) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def report(number: int = 1) -> bytes:
    """A report in words, one of which names its patient."""
    finding = code("121071", "DCM", "Finding")
    lines = [
        _item(
            RelationshipType="HAS OBS CONTEXT",
            ValueType="PNAME",
            ConceptNameCodeSequence=[code("121008", "DCM", "Person Observer Name")],
            PersonName="House^Gregory",
        ),
        _item(
            RelationshipType="CONTAINS",
            ValueType="TEXT",
            ConceptNameCodeSequence=[finding],
            TextValue="Aisha Rahman has a mass of the left lung, seen by Quentin Zbornak on 2026-01-03.",
        ),
        _item(
            RelationshipType="CONTAINS",
            ValueType="NUM",
            ConceptNameCodeSequence=[code("103339001", "SCT", "Long Axis")],
            MeasuredValueSequence=[
                _item(NumericValue="31.5", MeasurementUnitsCodeSequence=[code("mm", "UCUM", "millimeter")])
            ],
        ),
        _item(
            RelationshipType="CONTAINS",
            ValueType="IMAGE",
            ConceptNameCodeSequence=[code("121191", "DCM", "Referenced Segment")],
            ReferencedSOPSequence=[
                _item(ReferencedSOPClassUID=f"{_STORAGE}.66.4", ReferencedSOPInstanceUID="1.2.3.77.4")
            ],
        ),
    ]
    return written(
        named(
            "88.33",
            "SR",
            number,
            ValueType="CONTAINER",
            ConceptNameCodeSequence=[code("126000", "DCM", "Imaging Measurement Report")],
            ContinuityOfContent="SEPARATE",
            CompletionFlag="COMPLETE",
            VerificationFlag="UNVERIFIED",
            ContentSequence=lines,
        )
    )


def ecg(number: int = 2, seconds: float = 4.0) -> bytes:
    """Three leads, one of which has twelve stored bits of sixteen."""
    time = np.arange(int(seconds * 250)) / 250
    beat = np.exp(-(((time % 0.8) - 0.3) ** 2) / 0.0004) * 900 + 90 * np.sin(2 * np.pi * time / 4)
    samples = np.stack([beat, beat * 0.6, -beat * 0.4], axis=1).astype("<i2")
    channels = [
        _item(
            ChannelSourceSequence=[code(value, "MDC", f"Lead {name}")],
            ChannelSensitivity="1.25",
            ChannelSensitivityUnitsSequence=[code("uV", "UCUM", "microvolt")],
            ChannelSensitivityCorrectionFactor="1",
            ChannelBaseline="0",
            WaveformBitsStored=16,
        )
        for value, name in (("2:1", "I"), ("2:2", "II"), ("2:61", "III"))
    ]
    group = _item(
        MultiplexGroupTimeOffset="0",
        WaveformOriginality="ORIGINAL",
        NumberOfWaveformChannels=3,
        NumberOfWaveformSamples=len(samples),
        SamplingFrequency="250",
        MultiplexGroupLabel="RHYTHM",
        ChannelDefinitionSequence=channels,
        WaveformBitsAllocated=16,
        WaveformSampleInterpretation="SS",
    )
    group.add(DataElement("WaveformData", "OW", samples.tobytes()))
    note = _item(UnformattedTextValue="Aisha Rahman: sinus rhythm", ReferencedWaveformChannels=[1, 0])
    return written(named("9.1.1", "ECG", number, WaveformSequence=[group], WaveformAnnotationSequence=[note]))


def pdf(lines: tuple[str, ...] = ("Report of Aisha Rahman", "Left lung: mass of 31 mm"), *, pages: int = 2) -> bytes:
    """A document of some pages, with an author, a note and an attached file."""
    bodies = []
    for page in range(pages):
        text = [f"({line}) Tj 0 -24 Td" for line in (*lines, f"Page {page + 1}")]
        bodies.append(("BT /F1 18 Tf 60 740 Td " + " ".join(text) + " ET").encode())
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Count {pages}/Kids[{' '.join(f'{4 + 2 * n} 0 R' for n in range(pages))}]>>".encode(),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for page, body in enumerate(bodies):
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 R>>>>/Contents %d 0 R>>"
            % (5 + 2 * page)
        )
        objects.append(b"<</Length %d>>stream\n%s\nendstream" % (len(body), body))
    content = b"%PDF-1.4\n"
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(content))
        content += b"%d 0 obj" % number + body + b"endobj\n"
    cross_references = b"".join(b"%010d 00000 n \n" % start for start in offsets)
    size = len(objects) + 1
    content += b"xref\n0 %d\n0000000000 65535 f \n" % size + cross_references
    content += b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (
        size,
        len(content) - len(cross_references) - len(b"xref\n0 %d\n0000000000 65535 f \n" % size),
    )
    writer = PdfWriter(clone_from=PdfReader(BytesIO(content)))
    writer.add_metadata({"/Author": "Gregory House", "/Title": "Letter on Aisha Rahman"})
    writer.add_attachment("letter-of-aisha.txt", b"Dear Aisha Rahman")
    script = {NameObject("/S"): NameObject("/JavaScript"), NameObject("/JS"): TextStringObject("app.alert('Aisha')")}
    writer.root_object[NameObject("/OpenAction")] = DictionaryObject(script)
    buffer = BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def document(number: int = 3, data: bytes | None = None, media_type: str = "application/pdf") -> bytes:
    """An encapsulated document; a PDF unless another is given."""
    classes = {"application/pdf": "104.1", "text/xml": "104.2", "model/stl": "104.3"}
    content = pdf() if data is None else data
    dataset = named(
        classes.get(media_type, "104.1"),
        "DOC",
        number,
        DocumentTitle="Letter on Aisha Rahman",
        MIMETypeOfEncapsulatedDocument=media_type,
        ConversionType="WSD",
        BurnedInAnnotation="YES",
        EncapsulatedDocumentLength=len(content),
    )
    dataset.add(DataElement("EncapsulatedDocument", "OB", content + bytes(len(content) % 2)))
    return written(dataset)


def segmentation(number: int = 4, kind: str = "BINARY") -> bytes:
    """Two segments in three frames of 20 x 30 pixels; as a label map, or in bits or fractions."""
    frames = np.zeros((3, 20, 30), np.uint8)
    frames[0, 4:12, 5:15] = 1
    frames[1, 6:16, 10:25] = 1
    frames[2, 2:18, 2:28] = 1
    segments = [
        _item(
            SegmentNumber=segment_number,
            SegmentLabel=label,
            SegmentAlgorithmType="MANUAL",
            SegmentedPropertyCategoryCodeSequence=[code("85756007", "SCT", "Tissue")],
            SegmentedPropertyTypeCodeSequence=[code("10200004", "SCT", meaning)],
        )
        for segment_number, label, meaning in ((1, "Liver", "Liver"), (2, "Mass", "Mass"))
    ]
    segments[0].RecommendedDisplayCIELabValue = [41000, 44000, 39000]
    segment_numbers = (1, 2, 1)
    functional_groups = [
        _item(SegmentIdentificationSequence=[_item(ReferencedSegmentNumber=referenced_number)])
        for referenced_number in segment_numbers
    ]
    dataset = named(
        "66.4" if kind != "LABELMAP" else "66.7",
        "SEG",
        number,
        ImageType=["DERIVED", "PRIMARY"],
        SegmentationType=kind,
        SegmentSequence=segments,
        PerFrameFunctionalGroupsSequence=functional_groups,
        NumberOfFrames=3,
        Rows=20,
        Columns=30,
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        PixelRepresentation=0,
    )
    bits = 1 if kind == "BINARY" else 8
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    if kind == "BINARY":
        data = np.packbits(frames.ravel(), bitorder="little").tobytes()
    elif kind == "FRACTIONAL":
        dataset.MaximumFractionalValue, dataset.SegmentationFractionalType = 200, "PROBABILITY"
        data = (frames * 100).tobytes()
    else:
        dataset.PerFrameFunctionalGroupsSequence = [Dataset() for _ in segment_numbers]
        data = (frames * np.array(segment_numbers, np.uint8)[:, None, None]).tobytes()
    dataset.add(DataElement("PixelData", "OB", data + bytes(len(data) % 2)))
    return written(dataset)


def plan(number: int = 5) -> bytes:
    """A plan of one beam."""
    dataset = named(
        "481.5", "RTPLAN", number, RTPlanLabel="Plan Rahman", RTPlanDate="20260103", RTPlanGeometry="PATIENT"
    )
    dataset.DoseReferenceSequence = [
        _item(
            DoseReferenceNumber=1,
            DoseReferenceType="TARGET",
            DoseReferenceStructureType="VOLUME",
            TargetPrescriptionDose="60.0",
        )
    ]
    dataset.FractionGroupSequence = [
        _item(
            FractionGroupNumber=1,
            NumberOfFractionsPlanned=30,
            NumberOfBeams=1,
            NumberOfBrachyApplicationSetups=0,
            ReferencedBeamSequence=[_item(ReferencedBeamNumber=1, BeamMeterset="116.00")],
        )
    ]
    dataset.BeamSequence = [
        _item(
            BeamNumber=1,
            BeamName="Field 1",
            BeamType="STATIC",
            RadiationType="PHOTON",
            PrimaryDosimeterUnit="MU",
            NumberOfControlPoints=2,
            ControlPointSequence=[_item(ControlPointIndex=0, NominalBeamEnergy="6", GantryAngle="0.0")],
        )
    ]
    return written(dataset)


def structures(number: int = 6) -> bytes:
    """A set of one structure."""
    dataset = named("481.3", "RTSTRUCT", number, StructureSetLabel="Plan", StructureSetDate="20260103")
    dataset.StructureSetROISequence = [_item(ROINumber=1, ROIName="Lung", ROIGenerationAlgorithm="MANUAL")]
    contour = _item(ContourGeometricType="CLOSED_PLANAR", NumberOfContourPoints=3, ContourData=["0"] * 9)
    dataset.ROIContourSequence = [_item(ReferencedROINumber=1, ContourSequence=[contour])]
    dataset.RTROIObservationsSequence = [
        _item(ObservationNumber=1, ReferencedROINumber=1, RTROIInterpretedType="ORGAN", ROIInterpreter=NAME)
    ]
    return written(dataset)


def float_map(number: int = 7, *, double: bool = False) -> bytes:
    """Floating-point pixels, one of which is no number."""
    values = np.linspace(-2.0, 3.0, 20 * 30).reshape(20, 30).astype("<f8" if double else "<f4")
    values[0, 0] = np.nan
    dataset = named(
        "30",
        "MR",
        number,
        ImageType=["DERIVED", "PRIMARY"],
        Rows=20,
        Columns=30,
        NumberOfFrames=1,
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        BitsAllocated=64 if double else 32,
    )
    keyword, vr = ("DoubleFloatPixelData", "OD") if double else ("FloatPixelData", "OF")
    dataset.add(DataElement(keyword, vr, values.tobytes()))
    return written(dataset)


def presentation(number: int = 8) -> bytes:
    """A state with a window and writing that names somebody."""
    text = _item(UnformattedTextValue="Aisha Rahman: mass", BoundingBoxAnnotationUnits="PIXEL")
    dataset = named("11.1", "PR", number, ContentLabel="STATE", PresentationCreationDate="20260103")
    dataset.PresentationCreationTime, dataset.PresentationLUTShape = "101500", "IDENTITY"
    dataset.SoftcopyVOILUTSequence = [_item(WindowCenter="40", WindowWidth="400")]
    dataset.GraphicAnnotationSequence = [_item(GraphicLayer="LAYER", TextObjectSequence=[text])]
    return written(dataset)


def key_objects(number: int = 9) -> bytes:
    """A selection of one object."""
    line = _item(
        RelationshipType="CONTAINS",
        ValueType="IMAGE",
        ReferencedSOPSequence=[_item(ReferencedSOPClassUID=f"{_STORAGE}.66.4", ReferencedSOPInstanceUID="1.2.3.77.4")],
    )
    title = code("113000", "DCM", "Of Interest")
    return written(
        named("88.59", "KO", number, ValueType="CONTAINER", ConceptNameCodeSequence=[title], ContentSequence=[line])
    )


def registration(number: int = 10) -> bytes:
    """A registration, which no page draws."""
    return written(named("66.1", "REG", number, ContentLabel="REGISTRATION", ContentDescription="of Aisha Rahman"))


KINDS: dict[str, tuple[Callable[..., bytes], str]] = {
    "report": (report, "report"),
    "ecg": (ecg, "waveform"),
    "segmentation": (segmentation, "segmentation"),
    "plan": (plan, "plan"),
    "structures": (structures, "plan"),
    "float map": (float_map, "image"),
    "presentation": (presentation, "presentation"),
    "key objects": (key_objects, "report"),
    "registration": (registration, "other"),
}
"""Objects that are taken in without a person, and how each is shown."""
