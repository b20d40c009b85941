import type { QuotaLimits, QuotaRepository } from '@scoria/core';
import type { Session } from './session.ts';

/** Quota limits in SQL. Setting limits leaves those of other resources as they are. */
export class SqlQuotas implements QuotaRepository {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  ofProject(projectId: string): Promise<QuotaLimits> {
    return this.#limits('project', projectId);
  }

  setForProject(projectId: string, limits: QuotaLimits): Promise<void> {
    return this.#set('project', projectId, limits);
  }

  async resetProject(projectId: string): Promise<void> {
    await this.#session.db.deleteFrom('quota_limits').where('scope', '=', 'project').where('name', '=', projectId).execute();
  }

  ofClass(name: string): Promise<QuotaLimits> {
    return this.#limits('class', name);
  }

  setForClass(name: string, limits: QuotaLimits): Promise<void> {
    return this.#set('class', name, limits);
  }

  async #limits(scope: 'project' | 'class', name: string): Promise<QuotaLimits> {
    const rows = await this.#session.db
      .selectFrom('quota_limits')
      .select(['resource', 'hard_limit'])
      .where('scope', '=', scope)
      .where('name', '=', name)
      .orderBy('resource')
      .execute();
    return Object.fromEntries(rows.map(({ resource, hard_limit }) => [resource, hard_limit]));
  }

  async #set(scope: 'project' | 'class', name: string, limits: QuotaLimits): Promise<void> {
    const rows = Object.entries(limits).map(([resource, hard_limit]) => ({ scope, name, resource, hard_limit }));
    if (rows.length === 0) return;
    await this.#session.db
      .insertInto('quota_limits')
      .values(rows)
      .onConflict((conflict) =>
        conflict
          .columns(['scope', 'name', 'resource'])
          .doUpdateSet((expression) => ({ hard_limit: expression.ref('excluded.hard_limit') })),
      )
      .execute();
  }
}
