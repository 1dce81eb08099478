# SPDX-License-Identifier: Apache-2.0
"""DICOM objects whose texts hold a person's name, and texts of the field that hold none."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom import DataElement, Dataset, Sequence
from pydicom.datadict import dictionary_VR

from tests.factories.person_names import WrittenName
from tests.factories.seeded import CT

# Attributes in which a person can type, of every kind: with and without a row in the standard's table, of each value
# representation, within sequences, a code, and one of a private block.
TEXTS = (
    *("StudyDescription", "SeriesDescription", "ImageComments", "PatientComments", "WindowCenterWidthExplanation"),
    *("PartialViewDescription", "SequenceName", "PaddleDescription", "ReceiveCoilName", "InstitutionName"),
)
_OVERLAY_LABEL, _PRIVATE_CREATOR, _PRIVATE_TEXT = 0x60001500, 0x00110010, 0x00111001
KINDS = (*TEXTS, "OverlayLabel", "SegmentLabel", "CodeMeaning", "TextValue", "BodyPartExamined", "private")


def named_object(name: WrittenName, text: str) -> Dataset:
    """An object of a person, with a text in every kind of attribute."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = CT, "1.2.3.4", "CT"
    dataset.PatientName, dataset.PatientID = name.header, "H-47119"
    for keyword in TEXTS:  # names are longer than some value representations allow, and pydicom would warn
        dataset.add(DataElement(keyword, dictionary_VR(keyword), text, already_converted=True))
    dataset.add(DataElement(_OVERLAY_LABEL, "LO", text))
    dataset.add(DataElement(_PRIVATE_CREATOR, "LO", "ACME"))
    dataset.add(DataElement(_PRIVATE_TEXT, "LO", text))
    if text.isascii():
        dataset.add(DataElement("BodyPartExamined", "CS", text, already_converted=True))
    segment, code, content = Dataset(), Dataset(), Dataset()
    segment.SegmentLabel = text
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1234", "99LOCAL", text
    content.ValueType, content.TextValue = "TEXT", text
    content.ConceptNameCodeSequence = Sequence([code])
    dataset.SegmentSequence, dataset.ContentSequence = Sequence([segment]), Sequence([content])
    return dataset


def texts_of(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """Every text of an object at every depth, but for those of the de-identification itself: its keyword and value."""
    received = Dataset({tag: element for tag, element in dataset.items() if tag.group != 0x0012})
    for element in received.iterall():
        if element.VR in ("LO", "LT", "SH", "ST", "UC", "UT", "CS", "PN") and element.value:
            yield str(element.keyword or element.tag), str(element.value)


HARMLESS = (
    """
CT chest with contrast|MRI brain without contrast|XR knee left lateral|US abdomen complete|CT abdomen and pelvis
T1 axial post contrast|T2 FLAIR sagittal|DWI b1000|ADC map|3D TOF MRA|PET CT whole body|CHEST PA|CHEST LAT|Localizer
MPR coronal 3 mm|Lung window|Bone window|Soft tissue|Thin slices 1.25 mm|Arterial phase|Portal venous phase
Peripheral blood smear|Wright stain|Giemsa stain x100|Bone marrow biopsy|White blood cell count|Hand AP|Foot oblique
L-spine lateral|C-spine AP|Hip bilateral|Shoulder internal rotation|Mammography screening|RCC|LMLO|Follow up|Routine
Evaluation of lesion|No evidence of fracture|Mild pleural effusion|Normal study|Compared with prior examination
Acute stroke|Chronic disease|Rule out pneumonia|Pulmonary embolism protocol|Cardiac gated|Coronary CT angiography
Contrast 80 ml IV|kVp 120 mAs 200|Slice thickness 5 mm|FOV 350 mm|Head first supine|Image quality reduced by motion
Knee right axial|Ankle mortise view|Abdomen supine|Abdomen erect|Pelvis AP|Skull lateral|Ribs oblique|Wrist PA
Thyroid ultrasound|Liver lesion|Kidney stone|Breast mass left|Prostate MRI|Fetal biometry|Carotid Doppler|Echocardiogram
""".replace("\n", "|")
    .strip("|")
    .split("|")
)
