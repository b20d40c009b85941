import {
  limitedQuantities,
  systemClock,
  type ConnectionInfo,
  type ExportRequest,
  type IoLimits,
  type LimitedQuantity,
  type LimitSupport,
  type PluginCall,
} from '@scoria/core';
import type { Connection } from '@scoria/conformance';
import { MirroringTransport } from './mirroring-transport.ts';

/** See {@link Pace}. */
export type Direction = 'read' | 'write';

/** Holds operations to limits: what came in is a debt that is paid at the rate, and what is more than the burst waits. */
export class Pace {
  #limits: IoLimits = {};
  #changed = Promise.withResolvers<void>();
  readonly #debts = new Map<LimitedQuantity, { amount: number; at: number }>();
  readonly #last: Record<Direction, Promise<void>> = { read: Promise.resolve(), write: Promise.resolve() };

  /** Goes on by other limits, also for what waits. A debt stays as long as there is a limit. */
  change(limits: IoLimits): void {
    this.#limits = limits;
    for (const quantity of this.#debts.keys()) if (!limits[quantity]) this.#debts.delete(quantity);
    this.wake();
  }

  /** Lets what waits look at the limits again. */
  protected wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  /** Settles when an operation may go on, in the order in which those of its direction came. */
  pass(direction: Direction, bytes: number): Promise<void> {
    this.#last[direction] = this.#last[direction].then(() => this.#wait(direction, bytes));
    return this.#last[direction];
  }

  async #wait(direction: Direction, bytes: number): Promise<void> {
    for (;;) {
      const costs = limitedQuantities
        .filter((quantity) => this.#limits[quantity] && (quantity.startsWith(direction) || quantity.startsWith('total')))
        .map((quantity) => [quantity, quantity.endsWith('Bytes') ? bytes : this.#operations(bytes)] as const);
      const wait = Math.max(0, ...costs.map(([quantity, amount]) => this.#millisecondsFor(quantity, amount)));
      if (wait === 0) return costs.forEach(([quantity, amount]) => this.#owe(quantity, amount));
      await Promise.race([systemClock.sleep(wait), this.#changed.promise]);
    }
  }

  #operations(bytes: number): number {
    return Math.max(1, bytes / (this.#limits.operationSize ?? Number.POSITIVE_INFINITY));
  }

  #millisecondsFor(quantity: LimitedQuantity, amount: number): number {
    const { perSecond, burst } = this.#limits[quantity] ?? { perSecond: 1, burst: 1 };
    const excess = this.#debt(quantity) + Math.min(amount, burst) - burst;
    return Math.max(0, (excess / perSecond) * 1000);
  }

  #debt(quantity: LimitedQuantity): number {
    const { amount, at } = this.#debts.get(quantity) ?? { amount: 0, at: 0 };
    const paid = ((systemClock.monotonic() - at) / 1000) * (this.#limits[quantity]?.perSecond ?? 0);
    return Math.max(0, amount - paid);
  }

  #owe(quantity: LimitedQuantity, amount: number): void {
    this.#debts.set(quantity, { amount: this.#debt(quantity) + amount, at: systemClock.monotonic() });
  }
}

/** The loopback transport with limits. */
export class LimitingTransport extends MirroringTransport implements LimitSupport {
  protected readonly paces = new Map<string, Pace>();

  override async export(request: ExportRequest, call: PluginCall): Promise<void> {
    await super.export(request, call);
    this.paceOf(request).change(request.limits ?? {});
  }

  async limit(volumeId: string, limits: IoLimits | null, call: PluginCall): Promise<void> {
    call.signal.throwIfAborted();
    for (const { request } of this.exports.values()) {
      if (request.volumeId === volumeId) this.paceOf(request).change(limits ?? {});
    }
  }

  override async connect(info: ConnectionInfo): Promise<Connection> {
    const session = await super.connect(info);
    const pace = this.paceOf({ accessId: String(info.data['accessId']), volumeId: String(info.data['volumeId']) });
    return {
      ...session,
      read: async (into, offset) => {
        await pace.pass('read', into.byteLength);
        await session.read(into, offset);
      },
      write: async (data, offset) => {
        await pace.pass('write', data.byteLength);
        await session.write(data, offset);
      },
    };
  }

  protected override async end(accessId: string): Promise<void> {
    const ended = this.exports.get(accessId)?.request;
    await super.end(accessId);
    if (!ended || this.units.has(ended.volumeId)) return;
    this.paceOf(ended).change({});
    this.paces.delete(this.keyOf(ended));
  }

  /** What one pace is for. */
  protected keyOf({ volumeId }: Pick<ExportRequest, 'accessId' | 'volumeId'>): string {
    return volumeId;
  }

  protected makePace(): Pace {
    return new Pace();
  }

  protected paceOf(access: Pick<ExportRequest, 'accessId' | 'volumeId'>): Pace {
    const key = this.keyOf(access);
    const pace = this.paces.get(key) ?? this.makePace();
    this.paces.set(key, pace);
    return pace;
  }
}
