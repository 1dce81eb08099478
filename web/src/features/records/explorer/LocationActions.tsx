// SPDX-License-Identifier: Apache-2.0
import { Button } from '@mantine/core';
import { useSession } from '@/api/session';
import { AppLink } from '@/components/AppLink';
import { IconPlus, IconUpload } from '@/components/icons';
import { KIND_NAMES, type EntryKind } from './entries';
import type { ExplorerLocation, Level } from './location';
import type { LocationDetails } from './useLocationDetails';

/** The level at which an entry of a kind is created; images come by upload. */
const CREATED_AT: Record<EntryKind, Level | null> = {
  patients: 'root',
  studies: 'patient',
  series: 'study',
  images: null,
};

type Props = {
  location: ExplorerLocation;
  here: LocationDetails | undefined;
  kind: EntryKind;
  mayUpload: boolean;
  onCreate: () => void;
  onUpload: () => void;
};

export function LocationActions({ location, here, kind, mayUpload, onCreate, onUpload }: Props) {
  const { can } = useSession();
  const plus = <IconPlus size={18} />;
  return (
    <>
      {location.level === 'patient' && (
        <Button component={AppLink} to={`/patients/${location.id}`} variant="default">
          Patient page
        </Button>
      )}
      {here?.study && (
        <Button component={AppLink} to={`/studies/${here.study.id}`} variant="default">
          Study page
        </Button>
      )}
      {can(kind === 'patients' ? 'patient.create' : 'study.create') &&
        CREATED_AT[kind] === location.level &&
        (kind === 'patients' ? (
          <Button component={AppLink} to="/patients/new" variant="default" leftSection={plus}>
            New patient
          </Button>
        ) : (
          <Button variant="default" leftSection={plus} onClick={onCreate}>
            New {KIND_NAMES[kind]}
          </Button>
        ))}
      {mayUpload && (
        <Button leftSection={<IconUpload size={18} />} onClick={onUpload}>
          Upload here
        </Button>
      )}
    </>
  );
}
