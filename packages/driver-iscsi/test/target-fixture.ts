import { silentLog, systemClock, systemRandom, type Clock, type DeviceLocator } from '@scoria/core/device';
import { TargetService, type TargetServiceOptions } from '../src/target/target-service.ts';
import { ManualClock } from './manual-clock.ts';
import { MemoryDevice } from './memory-device.ts';
import { TestInitiator, type LoginOptions } from './test-initiator.ts';

export const accessId = '11111111-1111-4111-8111-111111111111';
export const volumeId = '22222222-2222-4222-8222-222222222222';
export const secret = 'a secret of the access';
export const iqn = (id = accessId): string => `iqn.2026-11.org.scoria:${id}`;
export const mebibyte = 1_048_576;

/** A target in this process, with devices in memory by the path of their locator. */
export class TargetFixture {
  readonly devices = new Map<string, MemoryDevice>();
  readonly service: TargetService;
  readonly #clock: Clock;
  readonly #initiators: TestInitiator[] = [];
  /** How often a device was opened. */
  opened = 0;

  constructor(clock: Clock = systemClock, options: Partial<TargetServiceOptions> = {}) {
    this.#clock = clock;
    this.devices.set('/volume', new MemoryDevice(8 * mebibyte));
    this.service = new TargetService({
      listen: [{ host: '127.0.0.1', port: 0 }],
      iqnPrefix: 'iqn.2026-11.org.scoria',
      authentication: 'chap',
      openers: {
        memory: async ({ path }, { readOnly }) => {
          this.opened++;
          const device = this.devices.get(path);
          if (device === undefined) throw new Error(`no device ${path}`);
          if (device.readOnly === readOnly && !device.closed) return device;
          const again = new MemoryDevice(device.size, device.blockSize, readOnly);
          again.content = device.content;
          again.allocated = device.allocated;
          this.devices.set(path, again);
          return again;
        },
      },
      clock,
      random: systemRandom,
      log: silentLog,
      ...options,
    });
  }

  /** A target that is started and exports its volume. */
  static async exporting(clock?: Clock): Promise<TargetFixture> {
    const target = new TargetFixture(clock);
    await target.service.start();
    await target.export();
    return target;
  }

  get device(): MemoryDevice {
    return this.devices.get('/volume')!;
  }

  get port(): number {
    return this.service.addresses[0]!.port;
  }

  locator(path = '/volume'): DeviceLocator {
    return { kind: 'memory', path, blockSize: 512 };
  }

  async export(changes: Partial<Parameters<TargetService['export']>[0]> = {}): Promise<void> {
    await this.service.export({ accessId, volumeId, device: this.locator(), readOnly: false, secret, ...changes });
  }

  async connect({ port = this.port, host = '127.0.0.1' } = {}): Promise<TestInitiator> {
    const initiator = await TestInitiator.connect(port, host);
    this.#initiators.push(initiator);
    return initiator;
  }

  /** A session that is logged in and has heard of its power on. */
  async session(options: LoginOptions = {}): Promise<TestInitiator> {
    const initiator = await this.connect();
    const user = options.user ?? accessId;
    const status = await initiator.login({ target: iqn(user), user, secret, ...options });
    if (status !== 0) throw new Error(`login failed with ${status.toString(16)}`);
    await initiator.command([0, 0, 0, 0, 0, 0]);
    return initiator;
  }

  async stop(): Promise<void> {
    for (const initiator of this.#initiators) initiator.close();
    const stopped = this.service.stop();
    // Nobody else lets the time pass that connections are given for their end.
    if (this.#clock instanceof ManualClock) this.#clock.advance(60_000);
    await stopped;
  }
}

/** Calls `found` until it gives something, for at most five seconds. */
export async function eventually<T>(found: () => T | Promise<T>, what: string): Promise<NonNullable<T>> {
  for (let attempt = 0; attempt < 500; attempt++) {
    const value = await found();
    if (value !== undefined && value !== null && value !== false) return value;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`${what} did not come about`);
}

/** A promise that somebody else opens. */
export const gate = (): { readonly opened: Promise<void>; open: () => void } => {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: resolve };
};
