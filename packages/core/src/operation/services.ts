import type { Backends } from '../placement/backends.ts';
import type { Random } from '../platform/random.ts';
import { wired } from '../plugin/token.ts';
import * as tokens from '../plugin/tokens.ts';
import type { Quotas } from '../quota/quotas.ts';
import type { Scheduler } from '../scheduling/scheduler.ts';
import type { Store } from '../store/store.ts';

/** What the steps of operations work with. */
@wired(tokens.Store, tokens.Backends, tokens.Scheduler, tokens.Quotas, tokens.Random)
export class OperationServices {
  readonly store: Store;
  readonly backends: Backends;
  readonly scheduler: Scheduler;
  readonly quotas: Quotas;
  readonly random: Random;

  constructor(store: Store, backends: Backends, scheduler: Scheduler, quotas: Quotas, random: Random) {
    this.store = store;
    this.backends = backends;
    this.scheduler = scheduler;
    this.quotas = quotas;
    this.random = random;
  }
}
