import { ScoriaError, type VolumeType } from '@scoria/core';
import type { z } from 'zod';
import type { CallBase } from '../../http/route.ts';
import type { volumeTypeSchema } from './schemas.ts';

/** Extra specs that tell a user what a type can do; the others tell how it is done and are for administrators. */
const visibleSpecs = ['RESKEY:availability_zones', 'multiattach', 'replication_enabled'];

/** The extra specs of a type that the caller may see. */
export function extraSpecsView(call: Pick<CallBase, 'context'>, type: VolumeType): Record<string, string> {
  if (call.context.isAdmin) return { ...type.extraSpecs };
  return Object.fromEntries(Object.entries(type.extraSpecs).filter(([key]) => visibleSpecs.includes(key)));
}

/** A volume type. */
export function volumeTypeView(call: Pick<CallBase, 'context'>, type: VolumeType): z.input<typeof volumeTypeSchema> {
  return {
    id: type.id,
    name: type.name,
    description: type.description,
    is_public: type.isPublic,
    'os-volume-type-access:is_public': type.isPublic,
    extra_specs: extraSpecsView(call, type),
    ...(call.context.isAdmin && { qos_specs_id: type.qosSpecId }),
  };
}

/** Names of types by their ids, each looked up once. A type that the caller may no longer see has no name. */
export async function volumeTypeNames(call: CallBase, ids: readonly string[]): Promise<Map<string, string>> {
  const lookUp = async (id: string) => {
    try {
      return [[id, (await call.storage.volumeTypes.get(call.context, id)).name] as const];
    } catch (error) {
      if (ScoriaError.from(error).code === 'not-found') return [];
      throw error;
    }
  };
  return new Map((await Promise.all([...new Set(ids)].map(lookUp))).flat());
}
