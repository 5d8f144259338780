// The form that makes another job like one that is there: the mutation that its handler declares, where the server shows its schema.
import { sendAgain } from '../../generated/job';
import type { Operation } from '../../graphql';
import { useQuery } from '../../hooks';
import { isClosed, MUTATIONS } from '../../inputs';
import { href } from '../../route';
import { useViewer } from '../../viewer';

const NAMES: Operation<{ __schema: { mutationType: { fields: readonly { name: string }[] } | null } }, object> = {
  text: MUTATIONS,
};
const NOTHING = {};
let closed = false; // the server shows no schema: it is asked once

// The form's address; null where there is none, or not for this viewer.
export function useFormAgain(id: string): string | null {
  const admin = useViewer()?.admin ?? false;
  const asked = useQuery(sendAgain, admin ? { id } : null);
  const mutation = admin ? asked.data?.job?.sendAgain?.mutation : undefined;
  const { data, error } = useQuery(NAMES, mutation && !closed ? NOTHING : null);
  if (error && isClosed(error)) closed = true;
  const shown = data?.__schema.mutationType?.fields.some(({ name }) => name === mutation);
  return mutation && shown ? href(`send/${mutation}`, { again: id }) : null;
}
