import { hostname } from 'node:os';
import { AccessSecrets } from '../attachment/access-secrets.ts';
import { Attachments } from '../attachment/attachments.ts';
import { VolumeConnections } from '../attachment/volume-connections.ts';
import { type Bus, InProcessBus } from '../bus/bus.ts';
import { Events } from '../event/events.ts';
import { Outbox } from '../event/outbox.ts';
import { Messages } from '../message/messages.ts';
import { Operations } from '../operation/operations.ts';
import { OperationServices } from '../operation/services.ts';
import { OperationWorker } from '../operation/worker.ts';
import { Audits } from '../placement/audits.ts';
import { BackendStates } from '../placement/backend-states.ts';
import { Backends } from '../placement/backends.ts';
import { Pools } from '../placement/pools.ts';
import { type Clock, systemClock } from '../platform/clock.ts';
import { type Exec, SystemExec } from '../platform/exec.ts';
import { type Log, silentLog } from '../platform/log.ts';
import { type Random, systemRandom } from '../platform/random.ts';
import { Assembly } from '../plugin/assembly.ts';
import { makePlugins, type PluginConfiguration } from '../plugin/configuration.ts';
import { defaultWorkerSettings, type Settings, type WorkerSettings } from '../plugin/settings.ts';
import * as tokens from '../plugin/tokens.ts';
import { QosSpecs } from '../qos-spec/qos-specs.ts';
import { Quotas } from '../quota/quotas.ts';
import { Reconciler } from '../reconciliation/reconciler.ts';
import { defaultReconciliationSettings } from '../reconciliation/reconciliation-settings.ts';
import { Scheduler } from '../scheduling/scheduler.ts';
import { Services } from '../service/services.ts';
import { Snapshots } from '../snapshot/snapshots.ts';
import { Housekeeping } from '../store/housekeeping.ts';
import type { Store } from '../store/store.ts';
import { VolumeTypes } from '../volume-type/volume-types.ts';
import { ManagedVolumes } from '../volume/managed-volumes.ts';
import { VolumeMoves } from '../volume/volume-moves.ts';
import { Volumes } from '../volume/volumes.ts';

/** What an instance of Scoria is made of. Nothing is read from the environment. */
export interface BlockStorageOptions {
  readonly store: Store;
  readonly plugins: PluginConfiguration;
  /** Key from which the secrets of attachments are derived: at least 32 random bytes, the same after a restart, known to nobody else. */
  readonly accessKey: Uint8Array;
  /** Relative paths in the plug-ins' configuration are meant from here. Absolute. */
  readonly baseDirectory: string;
  readonly settings?: Partial<Settings> | undefined;
  readonly worker?: Partial<WorkerSettings> | undefined;
  readonly bus?: Bus | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  readonly log?: Log | undefined;
  /** What runs the programs that plug-ins need. Default: programs of this machine. */
  readonly exec?: Exec | undefined;
}

/** An instance of Scoria: the use cases, and its life. */
export interface BlockStorage {
  readonly volumes: Volumes;
  readonly moves: VolumeMoves;
  readonly managedVolumes: ManagedVolumes;
  readonly snapshots: Snapshots;
  readonly attachments: Attachments;
  readonly connections: VolumeConnections;
  readonly volumeTypes: VolumeTypes;
  readonly qosSpecs: QosSpecs;
  readonly quotas: Quotas;
  readonly messages: Messages;
  readonly services: Services;
  readonly backends: BackendStates;
  readonly pools: Pools;
  readonly audits: Audits;
  readonly reconciler: Reconciler;
  readonly operations: Operations;
  readonly events: Events;
  /** Lets work under way end or interrupts it, so that the next start goes on with it; closes transports and the store. */
  stop(): Promise<void>;
}

const stopDeadline = 15_000;

/**
 * Makes and starts an instance of Scoria: block storage as a library, without HTTP and without global state. Opens the
 * store, makes the plug-ins (all faults of their configuration come together, as `invalid-configuration`), brings the
 * backends up and goes on with what an earlier instance left unfinished.
 */
export async function createBlockStorage(options: BlockStorageOptions): Promise<BlockStorage> {
  const clock = options.clock ?? systemClock;
  const random = options.random ?? systemRandom;
  const log = options.log ?? silentLog;
  const exec = options.exec ?? new SystemExec({ clock, log });
  const settings: Settings = {
    host: hostname(),
    availabilityZone: 'nova',
    defaultVolumeType: '__DEFAULT__',
    firstVolumeTypes: [],
    reportInterval: 10_000,
    // A sound backend needs a moment on a busy machine; the API answers nobody before.
    startPatience: 10_000,
    reconciliation: defaultReconciliationSettings,
    ...options.settings,
  };
  const { store, baseDirectory } = options;
  await store.open();
  try {
    const installationId = await store.installationId();
    const { availabilityZone } = settings;
    const plugins = makePlugins(options.plugins, { clock, random, log, exec, installationId, baseDirectory, availabilityZone });
    const assembly = new Assembly()
      .value(tokens.Store, store)
      .value(tokens.Bus, options.bus ?? new InProcessBus())
      .value(tokens.Clock, clock)
      .value(tokens.Random, random)
      .value(tokens.Log, log)
      .value(tokens.Settings, settings)
      .value(tokens.WorkerSettings, { ...defaultWorkerSettings, ...options.worker })
      .value(tokens.Plugins, plugins)
      .value(tokens.AccessSecrets, new AccessSecrets(options.accessKey))
      .class(tokens.Outbox, Outbox)
      .class(tokens.Backends, Backends)
      .class(tokens.Scheduler, Scheduler)
      .class(tokens.OperationServices, OperationServices)
      .class(tokens.OperationWorker, OperationWorker)
      .class(tokens.Operations, Operations)
      .class(tokens.Volumes, Volumes)
      .class(tokens.VolumeMoves, VolumeMoves)
      .class(tokens.ManagedVolumes, ManagedVolumes)
      .class(tokens.Snapshots, Snapshots)
      .class(tokens.Attachments, Attachments)
      .class(tokens.VolumeConnections, VolumeConnections)
      .class(tokens.VolumeTypes, VolumeTypes)
      .class(tokens.QosSpecs, QosSpecs)
      .class(tokens.Quotas, Quotas)
      .class(tokens.Messages, Messages)
      .class(tokens.Services, Services)
      .class(tokens.BackendStates, BackendStates)
      .class(tokens.Pools, Pools)
      .class(tokens.Audits, Audits)
      .class(tokens.Reconciler, Reconciler)
      .class(tokens.Housekeeping, Housekeeping)
      .class(tokens.Events, Events);
    assembly.verify([
      tokens.OperationWorker,
      tokens.Volumes,
      tokens.VolumeMoves,
      tokens.ManagedVolumes,
      tokens.Snapshots,
      tokens.VolumeConnections,
      tokens.VolumeTypes,
      tokens.QosSpecs,
      tokens.Messages,
      tokens.Services,
      tokens.BackendStates,
      tokens.Pools,
      tokens.Audits,
      tokens.Reconciler,
      tokens.Housekeeping,
      tokens.Events,
    ]);
    try {
      await assembly.start();
    } catch (error) {
      await assembly.stop(clock, log, stopDeadline);
      throw error;
    }
    return {
      volumes: assembly.get(tokens.Volumes),
      moves: assembly.get(tokens.VolumeMoves),
      managedVolumes: assembly.get(tokens.ManagedVolumes),
      snapshots: assembly.get(tokens.Snapshots),
      attachments: assembly.get(tokens.Attachments),
      connections: assembly.get(tokens.VolumeConnections),
      volumeTypes: assembly.get(tokens.VolumeTypes),
      qosSpecs: assembly.get(tokens.QosSpecs),
      quotas: assembly.get(tokens.Quotas),
      messages: assembly.get(tokens.Messages),
      services: assembly.get(tokens.Services),
      backends: assembly.get(tokens.BackendStates),
      pools: assembly.get(tokens.Pools),
      audits: assembly.get(tokens.Audits),
      reconciler: assembly.get(tokens.Reconciler),
      operations: assembly.get(tokens.Operations),
      events: assembly.get(tokens.Events),
      stop: async () => {
        await assembly.stop(clock, log, stopDeadline);
        await store.close();
      },
    };
  } catch (error) {
    await store.close();
    throw error;
  }
}
