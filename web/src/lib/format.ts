// SPDX-License-Identifier: Apache-2.0
// Numbers, times and sizes as people read them, in the language of the browser.

const numbers = new Intl.NumberFormat();
const exact = new Intl.DateTimeFormat(undefined, {
  dateStyle: 'medium',
  timeStyle: 'medium',
});
const exactWithZone = new Intl.DateTimeFormat(undefined, {
  year: 'numeric',
  month: 'short',
  day: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  timeZoneName: 'short',
});
const dayOnly = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium' });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto', style: 'short' });

export function count(value: number): string {
  return numbers.format(value);
}

export function plural(value: number, singular: string, pluralForm = `${singular}s`): string {
  return `${count(value)} ${value === 1 ? singular : pluralForm}`;
}

export function dateTime(iso: string): string {
  return exact.format(new Date(iso));
}

export function dateTimeWithZone(iso: string): string {
  return exactWithZone.format(new Date(iso));
}

export function day(iso: string): string {
  return dayOnly.format(new Date(iso));
}

const axisDays = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric', timeZone: 'UTC' });

/** A date without a year, for the axis of a chart, in the order and the language of the browser. */
export function shortDay(date: string, days: Intl.DateTimeFormat = axisDays): string {
  return days.format(new Date(`${date.slice(0, 10)}T12:00:00Z`));
}

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['year', 31_557_600],
  ['month', 2_629_800],
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
];

export function ago(iso: string, now: number = Date.now()): string {
  const seconds = (new Date(iso).getTime() - now) / 1000;
  for (const [unit, length] of STEPS) {
    if (Math.abs(seconds) >= length) return relative.format(Math.round(seconds / length), unit);
  }
  return 'just now';
}

export function bytes(size: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = size;
  let step = 0;
  while (value >= 1000 && step < units.length - 1) {
    value /= 1000;
    step += 1;
  }
  return `${step === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[step]}`;
}

const percents = new Intl.NumberFormat(undefined, { style: 'percent', maximumFractionDigits: 1 });

export function share(value: number): string {
  return percents.format(value);
}

/** Two figures; what is not certain is never written as 1.00. */
export function probability(value: number): string {
  return value >= 0.995 && value < 1 ? '>0.99' : value.toFixed(2);
}

export const SEX_OPTIONS = [
  { value: 'F', label: 'Female' },
  { value: 'M', label: 'Male' },
  { value: 'O', label: 'Other' },
  { value: 'U', label: 'Unknown' },
] as const;

export function sex(value: string): string {
  return SEX_OPTIONS.find((option) => option.value === value)?.label ?? value;
}

export function age(years: number | null): string {
  return years === null ? 'age unknown' : `${years} y`;
}

/** "patient.read" as "patient read", "smear-review" as "smear review". */
export function words(name: string): string {
  return name.replaceAll(/[._-]+/g, ' ');
}

export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
