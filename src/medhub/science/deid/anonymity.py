# SPDX-License-Identifier: Apache-2.0
"""k-anonymity: among how many people a person hides by what leaves with a data set beside the images.

Sex, age, institution and day say nothing of a person by themselves, but together they can point at one. These are the
quasi-identifiers; people who share all of them are an equivalence class.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medhub.errors import Invalid

# What data sets are commonly held to where they are published (El Emam & Dankar 2008 name 3 to 15, mostly 5).
LEAST = 5


@dataclass(frozen=True)
class Anonymity:
    """How well people hide behind one another.

    Attributes
    ----------
    k
        People in the smallest equivalence class; 0 where there are no rows.
    patients
        People in all.
    classes
        Equivalence classes.
    least
        The size that was asked for.
    below
        People in classes smaller than that.
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
        """Chance of the one who is easiest to point at: 1/k, the prosecutor's risk; 0 without people."""
        return 1 / self.k if self.k else 0.0


def k_anonymity(
    rows: Sequence[Mapping[str, object]], quasi: Sequence[str], *, patient: str = "patient", least: int = LEAST
) -> Anonymity:
    """Count how many people share each combination of quasi-identifiers.

    People are counted, not images: the rows of a person are read together, since they bear the same code, so a person's
    combination is the set of those of the person's rows. Values are compared as they leave, so an age in years and the
    same age in decades give different figures. A value that is missing (absent, None or empty) is a value of its own.

    Parameters
    ----------
    rows
        What leaves of each image, or of each person; each has ``patient``.
    quasi
        Names of the columns that somebody may know of a person. Without any, all people are one class.
    patient
        The column that says whose a row is.
    least
        Classes of fewer people are too small.

    Returns
    -------
    Anonymity

    Raises
    ------
    Invalid
        A row does not say whose it is: counted as a person of its own it would make k too large.

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
            raise Invalid(f"Row {number + 1} does not say whose it is: it has no {patient!r}.", field=patient)
        combinations[patient_code].add(tuple(_cell_text(row, column) for column in columns))
        rows_of[patient_code].append(number)
    classes: dict[frozenset[tuple[str, ...]], list[str]] = defaultdict(list)
    for patient_code, combination in combinations.items():
        classes[frozenset(combination)].append(patient_code)
    counts: dict[int, int] = defaultdict(int)
    for members in classes.values():
        counts[len(members)] += 1
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
