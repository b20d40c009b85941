import 'reflect-metadata';
import { container as root, type DependencyContainer, Lifecycle } from 'tsyringe';
import type { Clock } from '../platform/clock.ts';
import { withDeadline } from '../platform/deadline.ts';
import type { Log } from '../platform/log.ts';
import { dependenciesOf, type Token } from './token.ts';

/** A thing with a life of its own. Constructors do no I/O; this is where it happens. */
export interface Living {
  start?(): Promise<void>;
  stop?(): Promise<void>;
}

const isLiving = (thing: unknown): thing is Living =>
  typeof thing === 'object' &&
  thing !== null &&
  (('start' in thing && typeof thing.start === 'function') || ('stop' in thing && typeof thing.stop === 'function'));

/**
 * What one instance of Scoria consists of: values and classes by token, in a container of its own. Built in three
 * steps: provide, {@link verify}, then start and stop in the order of dependency.
 */
export class Assembly {
  readonly #container: DependencyContainer = root.createChildContainer();
  readonly #classes = new Map<Token<unknown>, new (...args: never[]) => object>();
  readonly #values = new Set<Token<unknown>>();
  #started: { readonly name: string; readonly thing: Living }[] = [];

  /** Provides a value that exists already. Its life is not ours. */
  value<T>(token: Token<T>, value: T): this {
    this.#claim(token);
    this.#values.add(token);
    this.#container.register<T>(token, { useValue: value });
    return this;
  }

  /** Provides one instance of a class. */
  class<T extends object>(token: Token<T>, Class: new (...args: never[]) => T): this {
    this.#claim(token);
    this.#classes.set(token, Class);
    this.#container.register<T>(token, { useClass: Class as new (...args: unknown[]) => T }, { lifecycle: Lifecycle.Singleton });
    return this;
  }

  get<T>(token: Token<T>): T {
    return this.#container.resolve<T>(token);
  }

  /**
   * Finds every fault of the wiring and throws them together: tokens that nobody provides, with who asks for them; tokens
   * that nobody uses, unless they are among `roots`; cycles, as a path. Then makes everything once.
   */
  verify(roots: readonly Token<unknown>[]): void {
    const faults: string[] = [];
    const used = new Set<Token<unknown>>(roots);
    for (const [token, Class] of this.#classes) {
      for (const needed of dependenciesOf(Class)) {
        used.add(needed);
        if (!this.#provides(needed)) faults.push(`${name(token)} needs ${name(needed)}, which nobody provides`);
      }
    }
    for (const needed of roots) if (!this.#provides(needed)) faults.push(`${name(needed)} is asked for, and nobody provides it`);
    for (const token of [...this.#classes.keys(), ...this.#values])
      if (!used.has(token)) faults.push(`${name(token)} is provided, and nobody uses it`);
    const cycle = this.#cycle();
    if (cycle) faults.push(`these need each other in a circle: ${cycle.map(name).join(' → ')}`);
    if (faults.length > 0) throw new Error(`The assembly is faulty:\n  ${faults.join('\n  ')}`);
    for (const token of this.#order()) this.get(token);
  }

  /** Starts all that has a `start`, what is depended upon first. When one fails, {@link stop} stops it and those started before it. */
  async start(): Promise<void> {
    for (const token of this.#order()) {
      const thing = this.get(token);
      if (!isLiving(thing)) continue;
      this.#started.push({ name: name(token), thing });
      await thing.start?.();
    }
  }

  /** Stops in reverse order, each within `deadline` milliseconds; a failure is logged and does not keep the others from stopping. */
  async stop(clock: Clock, log: Log, deadline: number): Promise<void> {
    const started = this.#started.toReversed();
    this.#started = [];
    for (const { name: what, thing } of started) {
      try {
        await withDeadline(clock, deadline, `Stopping ${what}`, async () => thing.stop?.());
      } catch (error) {
        log.error({ err: error, part: what }, 'a part of the service did not stop cleanly');
      }
    }
    await this.#container.dispose();
  }

  #claim(token: Token<unknown>): void {
    if (this.#provides(token)) throw new Error(`${name(token)} is provided twice`);
  }

  #provides(token: Token<unknown>): boolean {
    return this.#classes.has(token) || this.#values.has(token);
  }

  /** Classes, each after those it needs. */
  #order(): Token<unknown>[] {
    const order = new Set<Token<unknown>>();
    const visit = (token: Token<unknown>) => {
      const Class = this.#classes.get(token);
      if (!Class || order.has(token)) return;
      for (const needed of dependenciesOf(Class)) visit(needed);
      order.add(token);
    };
    for (const token of this.#classes.keys()) visit(token);
    return [...order];
  }

  #cycle(): Token<unknown>[] | undefined {
    const done = new Set<Token<unknown>>();
    const visit = (token: Token<unknown>, path: Token<unknown>[]): Token<unknown>[] | undefined => {
      const at = path.indexOf(token);
      if (at >= 0) return [...path.slice(at), token];
      const Class = this.#classes.get(token);
      if (!Class || done.has(token)) return undefined;
      for (const needed of dependenciesOf(Class)) {
        const found = visit(needed, [...path, token]);
        if (found) return found;
      }
      done.add(token);
      return undefined;
    };
    for (const token of this.#classes.keys()) {
      const found = visit(token, []);
      if (found) return found;
    }
    return undefined;
  }
}

const name = (token: Token<unknown>): string => (token.description ?? 'unnamed').replace('@scoria/core/', '');
