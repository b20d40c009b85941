import { ScoriaError } from '../error/scoria-error.ts';
import type { Clock } from '../platform/clock.ts';
import type { Random } from '../platform/random.ts';
import { wired } from '../plugin/token.ts';
import * as tokens from '../plugin/tokens.ts';
import type { ListQuery } from '../store/list-query.ts';
import type { Repositories, Store } from '../store/store.ts';
import type { RequestContext } from '../tenancy/request-context.ts';
import { requireAdmin } from '../tenancy/require-admin.ts';
import type { VolumeType } from '../volume-type/volume-type.ts';
import type { QosConsumer, QosSpec, QosSpecField } from './qos-spec.ts';
import { checkSpecs } from './volume-limits.ts';

/** What a new QoS spec may say. */
export interface NewQosSpec {
  readonly name: string;
  /** Default: `back-end`. */
  readonly consumer?: QosConsumer | undefined;
  readonly specs?: Readonly<Record<string, string>> | undefined;
}

/** Most keys of one spec. */
const maxKeys = 128;

/**
 * QoS specs, and the volume types that have them; all for administrators. A change concerns a volume from its next
 * attachment, extension or retype on, and when the service starts again.
 */
@wired(tokens.Store, tokens.Clock, tokens.Random)
export class QosSpecs {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #random: Random;

  constructor(store: Store, clock: Clock, random: Random) {
    this.#store = store;
    this.#clock = clock;
    this.#random = random;
  }

  /** `conflict` when the name is taken; `invalid-input` for a malformed number under a known key. */
  async create(context: RequestContext, request: NewQosSpec): Promise<QosSpec> {
    requireAdmin(context, 'create QoS specs');
    const spec: QosSpec = {
      id: this.#random.uuid(),
      name: request.name,
      consumer: request.consumer ?? 'back-end',
      specs: checked(request.specs ?? {}),
      createdAt: this.#clock.now(),
      updatedAt: null,
    };
    await this.#store.transaction(({ qosSpecs }) => qosSpecs.insert(spec));
    return spec;
  }

  async get(context: RequestContext, id: string): Promise<QosSpec> {
    requireAdmin(context, 'see QoS specs');
    return this.#store.reading.qosSpecs.get(id);
  }

  async list(context: RequestContext, query: ListQuery<QosSpecField>): Promise<readonly QosSpec[]> {
    requireAdmin(context, 'see QoS specs');
    return this.#store.reading.qosSpecs.list(query);
  }

  /** Adds and replaces keys, and changes the consumer. */
  async update(
    context: RequestContext,
    id: string,
    patch: { readonly consumer?: QosConsumer | undefined; readonly specs: Readonly<Record<string, string>> },
  ): Promise<QosSpec> {
    requireAdmin(context, 'change QoS specs');
    return this.#store.transaction(async ({ qosSpecs }) => {
      const specs = checked({ ...(await qosSpecs.get(id)).specs, ...patch.specs });
      return qosSpecs.update(id, { specs, ...(patch.consumer && { consumer: patch.consumer }) }, this.#clock.now());
    });
  }

  /** `not-found` when the spec lacks one of the keys; then it keeps them all. */
  async deleteKeys(context: RequestContext, id: string, keys: readonly string[]): Promise<QosSpec> {
    requireAdmin(context, 'change QoS specs');
    return this.#store.transaction(async ({ qosSpecs }) => {
      const { specs } = await qosSpecs.get(id);
      const missing = keys.find((key) => !Object.hasOwn(specs, key));
      if (missing !== undefined) throw new ScoriaError('not-found', `QoS spec ${id} has no spec with key ${missing}.`);
      const left = Object.fromEntries(Object.entries(specs).filter(([key]) => !keys.includes(key)));
      return qosSpecs.update(id, { specs: checked(left) }, this.#clock.now());
    });
  }

  /** `invalid-state` for a spec that volume types have, unless `force` takes it from them. */
  async delete(context: RequestContext, id: string, options: { readonly force?: boolean } = {}): Promise<void> {
    requireAdmin(context, 'delete QoS specs');
    await this.#store.transaction(async (repositories) => {
      await repositories.qosSpecs.get(id);
      const types = await repositories.volumeTypes.ofQosSpec(id);
      if (types.length > 0 && !options.force) {
        throw new ScoriaError(
          'invalid-state',
          `QoS spec ${id} is still in use by ${types.map(({ name }) => name).join(', ')}; disassociate it first, or force its deletion.`,
        );
      }
      await this.#setSpecOf(repositories, types, null);
      await repositories.qosSpecs.remove(id);
    });
  }

  /** The volume types that have a spec, by name. */
  async associations(context: RequestContext, id: string): Promise<readonly VolumeType[]> {
    requireAdmin(context, 'see QoS specs');
    await this.#store.reading.qosSpecs.get(id);
    return this.#store.reading.volumeTypes.ofQosSpec(id);
  }

  /** Gives a volume type a spec. `invalid-state` when it has another one; a repeat changes nothing. */
  async associate(context: RequestContext, id: string, volumeTypeId: string): Promise<void> {
    requireAdmin(context, 'associate QoS specs');
    await this.#store.transaction(async (repositories) => {
      await repositories.qosSpecs.get(id);
      const type = await repositories.volumeTypes.get('every-project', volumeTypeId);
      if (type.qosSpecId === id) return;
      if (type.qosSpecId !== null) {
        throw new ScoriaError(
          'invalid-state',
          `Volume type ${type.name} is already associated with QoS spec ${type.qosSpecId}; disassociate that first.`,
        );
      }
      await this.#setSpecOf(repositories, [type], id);
    });
  }

  /** Takes a spec from a volume type. Does nothing for a type without one; `invalid-state` when it has another one. */
  async disassociate(context: RequestContext, id: string, volumeTypeId: string): Promise<void> {
    requireAdmin(context, 'disassociate QoS specs');
    await this.#store.transaction(async (repositories) => {
      await repositories.qosSpecs.get(id);
      const type = await repositories.volumeTypes.get('every-project', volumeTypeId);
      if (type.qosSpecId === null) return;
      if (type.qosSpecId !== id) {
        throw new ScoriaError(
          'invalid-state',
          `Volume type ${type.name} is associated with QoS spec ${type.qosSpecId}, not with ${id}.`,
        );
      }
      await this.#setSpecOf(repositories, [type], null);
    });
  }

  /** Takes a spec from every volume type. */
  async disassociateAll(context: RequestContext, id: string): Promise<void> {
    requireAdmin(context, 'disassociate QoS specs');
    await this.#store.transaction(async (repositories) => {
      await repositories.qosSpecs.get(id);
      await this.#setSpecOf(repositories, await repositories.volumeTypes.ofQosSpec(id), null);
    });
  }

  async #setSpecOf({ volumeTypes }: Repositories, types: readonly VolumeType[], qosSpecId: string | null): Promise<void> {
    for (const type of types) await volumeTypes.update(type.id, { qosSpecId }, this.#clock.now());
  }
}

function checked(specs: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  checkSpecs(specs);
  if (Object.keys(specs).length > maxKeys) {
    throw new ScoriaError('invalid-input', `A QoS spec has at most ${maxKeys} keys.`);
  }
  return specs;
}
