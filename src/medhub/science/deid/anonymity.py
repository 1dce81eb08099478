# SPDX-License-Identifier: Apache-2.0
"""k-anonymity of the metadata that a data set contains: the size of the smallest group of indistinguishable patients.

Sex, age, institution and day say nothing of a person by themselves, but together they can point at one. These are the
quasi-identifiers; people who share all of them are an equivalence class.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medhub.errors import Invalid

# What data sets are commonly held to where they are published (El Emam & Dankar 2008 name 3 to 15, mostly 5).
LEAST = 5


@dataclass(frozen=True)
class Anonymity:
    """The k-anonymity of a table.

    Attributes
    ----------
    k
        People in the smallest equivalence class; 0 where there are no rows.
    patients
        Patients in total.
    classes
        Equivalence classes.
    least
        The required size of a class.
    below
        Patients in classes smaller than ``least``.
    rows
        Positions of their rows, from 0, in order.
    sizes
        How many classes there are of each size: (size, classes), smallest first.
    """

    k: int
    patients: int
    classes: int
    least: int
    below: int
    rows: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]

    @property
    def share(self) -> float:
        """Share of the people who are in classes that are too small, 0..1."""
        return self.below / self.patients if self.patients else 0.0

    @property
    def risk(self) -> float:
        """Greatest probability of re-identification, 1/k (the prosecutor's risk); 0 without patients."""
        return 1 / self.k if self.k else 0.0


def k_anonymity(
    rows: Sequence[Mapping[str, object]], quasi: Sequence[str], *, patient: str = "patient", least: int = LEAST
) -> Anonymity:
    """Count how many patients share each combination of quasi-identifiers.

    Patients are counted, not images: rows with the same patient code belong together, and the combination of a patient
    is the set of the combinations of these rows. Values are compared as exported, so an age in years and the same age
    in decades give different figures. A missing value (absent, None or empty) counts as a value.

    Parameters
    ----------
    rows
        Exported metadata of each image or patient; each row has the column ``patient``.
    quasi
        Columns that an attacker may know of a person. Without any, all patients are in one class.
    patient
        Column of the patient code.
    least
        Smallest permitted class.

    Returns
    -------
    Anonymity

    Raises
    ------
    Invalid
        A row has no patient code: counted as a separate patient it would make k too large.

    References
    ----------
    P. Samarati, L. Sweeney: Protecting privacy when disclosing information: k-anonymity and its enforcement through
    generalization and suppression. SRI-CSL-98-04, 1998. K. El Emam, F. K. Dankar: Protecting privacy using k-anonymity.
    J Am Med Inform Assoc 15(5), 2008, 627-637.
    """
    columns = tuple(dict.fromkeys(quasi))
    combinations: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    rows_of: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        patient_code = _cell_text(row, patient)
        if not patient_code:
            raise Invalid(
                f"Row {number + 1} has no patient code: its column {patient!r} is empty or missing.", field=patient
            )
        combinations[patient_code].add(tuple(_cell_text(row, column) for column in columns))
        rows_of[patient_code].append(number)
    classes: dict[frozenset[tuple[str, ...]], list[str]] = defaultdict(list)
    for patient_code, combination in combinations.items():
        classes[frozenset(combination)].append(patient_code)
    counts = Counter(len(members) for members in classes.values())
    exposed = [patient_code for members in classes.values() if len(members) < least for patient_code in members]
    return Anonymity(
        k=min(counts, default=0),
        patients=len(combinations),
        classes=len(classes),
        least=least,
        below=len(exposed),
        rows=tuple(sorted(number for patient_code in exposed for number in rows_of[patient_code])),
        sizes=tuple(sorted(counts.items())),
    )


def _cell_text(row: Mapping[str, object], column: str) -> str:
    value = row.get(column)
    return "" if value is None else str(value).strip()
