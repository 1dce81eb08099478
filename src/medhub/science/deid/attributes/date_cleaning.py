# SPDX-License-Identifier: Apache-2.0
"""Action C on dates, times, ages and time zones: shifted, kept or emptied by the options of the profile."""

from __future__ import annotations

import re

from pydicom import DataElement

from medhub.science.deid.attributes.element_context import MALFORMED, ElementContext
from medhub.science.deid.attributes.element_values import copy_value, from_strings, to_strings
from medhub.science.deid.replacement_values import NotADate, cap_age, has_valid_form, shift_date, shift_datetime

_TIME_ZONE = re.compile(r"[+-]\d{4}$")


def clean_date(context: ElementContext, reason: str) -> DataElement:
    """Shift a date under the option modified-dates; without it, keep it under full-dates, or else empty it."""
    tag, vr, dates = context.tag, context.vr, context.log.dates
    options = context.run.profile.options
    if not has_valid_form(vr, tag, context.value):
        dates.add("removed")
        context.record("emptied", f"{reason}; {MALFORMED}")
        return DataElement(tag, vr, None)
    if "modified-dates" not in options:
        if "full-dates" in options:
            dates.add("kept")
            return DataElement(tag, vr, copy_value(context.value))
        dates.add("removed")
        context.record("emptied", reason)
        return DataElement(tag, vr, None)
    if vr == "TM":  # dates are shifted by days, so the time of day stays
        dates.add("modified")
        context.record("kept", reason)
        return DataElement(tag, vr, copy_value(context.value))
    shift = shift_date if vr == "DA" else shift_datetime
    try:
        shifted = [shift(date, context.run.subject.days) for date in to_strings(context.value)]
    except NotADate:
        dates.add("removed")
        context.record("emptied", f"{reason}; it is not a date that can be shifted")
        return DataElement(tag, vr, None)
    dates.add("modified")
    context.record("shifted", reason)
    return DataElement(tag, vr, from_strings(shifted))


def clean_age(context: ElementContext, reason: str) -> DataElement | None:
    """Keep an age, above 89 years as 90."""
    if not has_valid_form(context.vr, context.tag, context.value):
        context.record("removed", MALFORMED)
        return None
    context.record("kept", reason)
    return DataElement(context.tag, context.vr, cap_age(str(context.value)))


def clean_time_zone(context: ElementContext, reason: str) -> DataElement:
    """Keep an offset from UTC that has the form of one."""
    offset = str(context.value).strip()
    if _TIME_ZONE.match(offset):
        context.record("kept", reason)
        return DataElement(context.tag, context.vr, offset)
    context.record("emptied", reason)
    return DataElement(context.tag, context.vr, None)
