import { ScoriaError } from '../error/scoria-error.ts';
import type { Clock } from '../platform/clock.ts';
import type { Random } from '../platform/random.ts';
import type { Settings } from '../plugin/settings.ts';
import { wired } from '../plugin/token.ts';
import * as tokens from '../plugin/tokens.ts';
import type { ListQuery } from '../store/list-query.ts';
import type { Store } from '../store/store.ts';
import { type RequestContext, tenancyOf } from '../tenancy/request-context.ts';
import { requireAdmin } from '../tenancy/require-admin.ts';
import type { VolumeType, VolumeTypeField } from './volume-type.ts';

/** What a new type may say. */
export interface NewVolumeType {
  readonly name: string;
  readonly description?: string | null | undefined;
  /** Default: `true`. */
  readonly isPublic?: boolean | undefined;
  readonly extraSpecs?: Readonly<Record<string, string>> | undefined;
}

/** Volume types: what users may choose from, and what each asks of a pool. Changing them is for administrators. */
@wired(tokens.Store, tokens.Clock, tokens.Random, tokens.Settings)
export class VolumeTypes {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #settings: Settings;

  constructor(store: Store, clock: Clock, random: Random, settings: Settings) {
    this.#store = store;
    this.#clock = clock;
    this.#random = random;
    this.#settings = settings;
  }

  /** Makes the first types in a new store, and sees to it that the default type exists. */
  async start(): Promise<void> {
    const { firstVolumeTypes, defaultVolumeType } = this.#settings;
    const names = (await this.#store.reading.volumeTypes.list('every-project', {})).map(({ name }) => name);
    if (names.length === 0) {
      for (const type of firstVolumeTypes) names.push((await this.#insert(type)).name);
    }
    if (!names.includes(defaultVolumeType)) await this.#insert({ name: defaultVolumeType, description: 'Default volume type' });
  }

  async create(context: RequestContext, request: NewVolumeType): Promise<VolumeType> {
    requireAdmin(context, 'create volume types');
    return this.#insert(request);
  }

  /** By id or name. */
  async get(context: RequestContext, idOrName: string): Promise<VolumeType> {
    return this.#store.reading.volumeTypes.resolve(tenancyOf(context), idOrName);
  }

  /** The type of a volume that asks for none. */
  async default(): Promise<VolumeType> {
    return this.#store.reading.volumeTypes.resolve('every-project', this.#settings.defaultVolumeType);
  }

  async list(context: RequestContext, query: ListQuery<VolumeTypeField>): Promise<readonly VolumeType[]> {
    return this.#store.reading.volumeTypes.list(tenancyOf(context), query);
  }

  async update(
    context: RequestContext,
    id: string,
    patch: {
      readonly name?: string | undefined;
      readonly description?: string | null | undefined;
      readonly isPublic?: boolean | undefined;
    },
  ): Promise<VolumeType> {
    requireAdmin(context, 'change volume types');
    const { name, description, isPublic } = patch;
    const changed = {
      ...(name !== undefined && { name }),
      ...(description !== undefined && { description }),
      ...(isPublic !== undefined && { isPublic }),
    };
    return this.#store.transaction(async ({ volumeTypes }) => {
      const present = await volumeTypes.get('every-project', id);
      if (name !== undefined && name !== present.name && present.name === this.#settings.defaultVolumeType) {
        throw new ScoriaError('conflict', `Type ${present.name} is the default type; choose another default before renaming it.`);
      }
      return volumeTypes.update(id, changed, this.#clock.now());
    });
  }

  /** `conflict` for a type in use and for the default type. */
  async delete(context: RequestContext, id: string): Promise<void> {
    requireAdmin(context, 'delete volume types');
    await this.#store.transaction(async ({ volumeTypes }) => {
      const type = await volumeTypes.get('every-project', id);
      if (type.name === this.#settings.defaultVolumeType)
        throw new ScoriaError('conflict', `Type ${type.name} is the default type and cannot be deleted.`);
      await volumeTypes.remove(id);
    });
  }

  /** Adds and replaces extra specs. */
  async setExtraSpecs(context: RequestContext, id: string, specs: Readonly<Record<string, string>>): Promise<VolumeType> {
    requireAdmin(context, 'change extra specs');
    return this.#store.transaction(async ({ volumeTypes }) => {
      const { extraSpecs } = await volumeTypes.get('every-project', id);
      return volumeTypes.update(id, { extraSpecs: { ...extraSpecs, ...specs } }, this.#clock.now());
    });
  }

  /** `not-found` when the type has no such spec. */
  async deleteExtraSpec(context: RequestContext, id: string, key: string): Promise<VolumeType> {
    requireAdmin(context, 'change extra specs');
    return this.#store.transaction(async ({ volumeTypes }) => {
      const { [key]: removed, ...extraSpecs } = (await volumeTypes.get('every-project', id)).extraSpecs;
      if (removed === undefined) throw new ScoriaError('not-found', `Volume type ${id} has no extra spec ${key}.`);
      return volumeTypes.update(id, { extraSpecs }, this.#clock.now());
    });
  }

  async projectsWithAccess(context: RequestContext, id: string): Promise<readonly string[]> {
    requireAdmin(context, 'see who may use a volume type');
    await this.#requirePrivate(id);
    return this.#store.reading.volumeTypes.projectsWithAccess(id);
  }

  async grantAccess(context: RequestContext, id: string, projectId: string): Promise<void> {
    requireAdmin(context, 'grant access to volume types');
    await this.#requirePrivate(id);
    await this.#store.transaction(({ volumeTypes }) => volumeTypes.grantAccess(id, projectId));
  }

  async revokeAccess(context: RequestContext, id: string, projectId: string): Promise<void> {
    requireAdmin(context, 'revoke access to volume types');
    await this.#requirePrivate(id);
    await this.#store.transaction(({ volumeTypes }) => volumeTypes.revokeAccess(id, projectId));
  }

  async #requirePrivate(id: string): Promise<void> {
    const { isPublic, name } = await this.#store.reading.volumeTypes.get('every-project', id);
    if (isPublic) throw new ScoriaError('not-found', `Volume type ${name} is public: every project has access.`);
  }

  async #insert(request: NewVolumeType): Promise<VolumeType> {
    const type: VolumeType = {
      id: this.#random.uuid(),
      name: request.name,
      description: request.description ?? null,
      isPublic: request.isPublic ?? true,
      extraSpecs: request.extraSpecs ?? {},
      qosSpecId: null,
      createdAt: this.#clock.now(),
      updatedAt: null,
    };
    await this.#store.transaction(({ volumeTypes }) => volumeTypes.insert(type));
    return type;
  }
}
