# SPDX-License-Identifier: Apache-2.0
"""Facts of radiotherapy objects: structures, prescriptions, beams (PS3.3, C.8.8)."""

from __future__ import annotations

from typing import Any

from pydicom import Dataset

from medhub.science.imaging.content.attribute_text import Fact, facts_of, items, number, words

Section = dict[str, Any]


def plan_facts(dataset: Dataset) -> list[Fact]:
    """The facts of a radiotherapy object."""
    return facts_of(
        dataset,
        (
            ("Label", "StructureSetLabel"),
            ("Label", "RTPlanLabel"),
            ("Name", "StructureSetName"),
            ("Name", "RTPlanName"),
            ("Date of the set", "StructureSetDate"),
            ("Date of the plan", "RTPlanDate"),
            ("Intent", "PlanIntent"),
            ("Geometry", "RTPlanGeometry"),
            ("Approved", "ApprovalStatus"),
            ("Protocol", "TreatmentProtocols"),
            ("Dose unit", "DoseUnits"),
            ("Dose type", "DoseType"),
            ("Summed over", "DoseSummationType"),
        ),
    )


def plan_sections(dataset: Dataset) -> list[Section]:
    """The tables of a radiotherapy object that have rows."""
    sections = (_structures(dataset), _prescriptions(dataset), _fractions(dataset), _beams(dataset))
    return [section for section in sections if section["rows"]]


def _section(title: str, heads: list[str], rows: list[list[str]]) -> Section:
    return {"title": title, "heads": heads, "rows": rows}


def _structures(dataset: Dataset) -> Section:
    kinds = {words(item, "ReferencedROINumber"): item for item in items(dataset, "RTROIObservationsSequence")}
    drawn = {words(item, "ReferencedROINumber"): item for item in items(dataset, "ROIContourSequence")}
    rows = []
    for roi in items(dataset, "StructureSetROISequence"):
        roi_number = words(roi, "ROINumber")
        contours = items(drawn.get(roi_number, Dataset()), "ContourSequence", 100_000)
        volume = number(roi, "ROIVolume")
        rows.append(
            [
                roi_number,
                words(roi, "ROIName"),
                words(kinds.get(roi_number, Dataset()), "RTROIInterpretedType").lower(),
                words(roi, "ROIGenerationAlgorithm").lower(),
                str(len(contours)),
                f"{volume} cm³" if volume else "",
            ]
        )
    return _section("Structures", ["Number", "Name", "Type", "Made", "Contours", "Volume"], rows)


def _prescriptions(dataset: Dataset) -> Section:
    rows = []
    for reference in items(dataset, "DoseReferenceSequence"):
        doses = [
            (name, number(reference, keyword))
            for name, keyword in (
                ("prescribed", "TargetPrescriptionDose"),
                ("at least", "TargetMinimumDose"),
                ("at most", "TargetMaximumDose"),
                ("at most", "OrganAtRiskMaximumDose"),
                ("in all", "DeliveryMaximumDose"),
            )
        ]
        rows.append(
            [
                words(reference, "DoseReferenceNumber"),
                words(reference, "DoseReferenceType").replace("_", " ").lower(),
                words(reference, "DoseReferenceStructureType").lower(),
                words(reference, "DoseReferenceDescription"),
                "; ".join(f"{name} {value} Gy" for name, value in doses if value),
            ]
        )
    return _section("Prescription", ["Number", "Of", "As", "Description", "Dose"], rows)


def _fractions(dataset: Dataset) -> Section:
    rows = [
        [
            words(group, "FractionGroupNumber"),
            words(group, "NumberOfFractionsPlanned"),
            words(group, "NumberOfBeams"),
            words(group, "NumberOfBrachyApplicationSetups"),
        ]
        for group in items(dataset, "FractionGroupSequence")
    ]
    return _section("Fractions", ["Group", "Planned", "Beams", "Brachy set-ups"], rows)


def _beams(dataset: Dataset) -> Section:
    meterset = {
        words(beam, "ReferencedBeamNumber"): number(beam, "BeamMeterset")
        for group in items(dataset, "FractionGroupSequence")
        for beam in items(group, "ReferencedBeamSequence")
    }
    rows = []
    for keyword, points in (("BeamSequence", "ControlPointSequence"), ("IonBeamSequence", "IonControlPointSequence")):
        for beam in items(dataset, keyword):
            beam_number = words(beam, "BeamNumber")
            first = next(iter(items(beam, points, 1)), Dataset())
            energy, angle = number(first, "NominalBeamEnergy"), number(first, "GantryAngle")
            rows.append(
                [
                    beam_number,
                    words(beam, "BeamName"),
                    " ".join((words(beam, "BeamType"), words(beam, "RadiationType"))).lower().strip(),
                    f"{energy} MeV" if energy else "",
                    f"{angle}°" if angle else "",
                    words(beam, "NumberOfControlPoints"),
                    " ".join((meterset.get(beam_number, ""), words(beam, "PrimaryDosimeterUnit"))).strip(),
                ]
            )
    heads = ["Number", "Name", "Kind", "Energy", "Gantry", "Control points", "Meterset"]
    return _section("Beams", heads, rows)
