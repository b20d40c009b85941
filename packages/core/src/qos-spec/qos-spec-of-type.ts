import type { Repositories } from '../store/store.ts';
import type { QosSpec } from './qos-spec.ts';

/** The QoS spec of a volume type; `null` when it has none, or none any more. */
export async function qosSpecOfType(
  { volumeTypes, qosSpecs }: Pick<Repositories, 'volumeTypes' | 'qosSpecs'>,
  volumeTypeId: string,
): Promise<QosSpec | null> {
  const { qosSpecId } = await volumeTypes.get('every-project', volumeTypeId);
  if (qosSpecId === null) return null;
  const [spec] = await qosSpecs.list({ where: [{ field: 'id', op: 'eq', value: qosSpecId }] });
  return spec ?? null;
}
