import { ScoriaError, type BlockStorage, type RequestContext } from '@scoria/core';
import { z } from 'zod';
import { maximumVersion, minimumVersion, minorOf, type Microversion } from './microversion.ts';

/** Names of the parameters in a path: `/volumes/:id/metadata/:key` has `id` and `key`. */
export type PathParameters<Path extends string> = Path extends `${string}:${infer Name}/${infer Rest}`
  ? { readonly [Key in Name]: string } & PathParameters<`/${Rest}`>
  : Path extends `${string}:${infer Name}`
    ? { readonly [Key in Name]: string }
    : unknown;

/** Methods that routes may have. */
export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

/** What every handler is given besides its checked input. */
export interface CallBase {
  readonly storage: BlockStorage;
  readonly context: RequestContext;
  /** Whether the negotiated version is this one or a later one. */
  atLeast(version: Microversion): boolean;
  /** URL of the API that the caller used, with the project when it was in the path, without a slash at the end. */
  readonly endpoint: string;
  /** The request's path below {@link endpoint}, without its query. */
  readonly path: string;
  /** The query as it came; of a repeated word the last counts. */
  readonly rawQuery: Readonly<Record<string, string>>;
  /** Header `If-Match`, as it came. */
  readonly ifMatch: string | undefined;
  /** Further headers of the answer. */
  readonly headers: Record<string, string>;
}

/** What a handler is given. */
export interface Call<Path extends string, Query, Body> extends CallBase {
  readonly params: PathParameters<Path>;
  readonly query: Query;
  readonly body: Body;
}

/** A request whose version, caller and project are known, before its input is checked. */
export interface RawCall extends CallBase {
  readonly params: Readonly<Record<string, string>>;
  readonly body: unknown;
  /** Number after the point of the negotiated version. */
  readonly minor: number;
}

/** Checks a part of a request against its schema at the negotiated version. */
export type InputCheck = <T extends z.ZodType>(schema: T, value: unknown) => z.output<T>;

/** A route as the dispatcher and the API description see it. */
export interface Route {
  readonly method: Method;
  readonly path: string;
  readonly summary: string;
  /** Numbers after the point of the first and last version that have it. */
  readonly since: number;
  readonly until: number;
  readonly admin: boolean;
  /** Begins a durable operation, so the request can be run dry. */
  readonly begins: boolean;
  /** Set for actions: the one key of the body that chooses this route among those of the same path. */
  readonly action: string | undefined;
  readonly query: z.ZodType | undefined;
  readonly body: z.ZodType | undefined;
  readonly status: number;
  readonly response: z.ZodType;
  invoke(call: RawCall, check: InputCheck): Promise<unknown>;
}

/** For `response`, where the answer has no body. */
export const nothing = z.void();

interface Versioned {
  /** First version that has the route. Default: 3.0. */
  readonly since?: Microversion;
  /** Last version that has the route. Default: the newest. */
  readonly until?: Microversion;
  /** Only for administrators. */
  readonly admin?: boolean;
  /** Begins a durable operation, so the request can be run dry. */
  readonly begins?: boolean;
  /** One line for the API description. */
  readonly summary: string;
}

type Responses = Readonly<Record<number, z.ZodType>>;
type Answer<R extends Responses> = Promise<z.input<R[keyof R]>> | z.input<R[keyof R]>;

/** What the author of a route writes. */
export interface RouteDefinition<
  Path extends string,
  Q extends z.ZodType,
  B extends z.ZodType,
  R extends Responses,
> extends Versioned {
  readonly method: Method;
  /** Below `/v3` and the project; `:name` stands for a parameter. */
  readonly path: Path;
  readonly query?: Q;
  readonly body?: B;
  /** The status of success, and what is answered with it. Exactly one. */
  readonly response: R;
  handler(call: Call<Path, z.output<Q>, z.output<B>>): Answer<R>;
}

/**
 * Declares a route. The schemas are the one truth for validation, for the types of the handler and for the API
 * description; versions are declared here and on the fields.
 *
 * @example
 * route({
 *   method: 'GET', path: '/volumes/:id', summary: 'Shows a volume',
 *   response: { 200: z.object({ volume: volumeSchema }) },
 *   handler: async ({ storage, context, params }) => ({ volume: view(await storage.volumes.get(context, params.id)) }),
 * });
 */
export function route<
  const Path extends string,
  R extends Responses,
  Q extends z.ZodType = z.ZodUndefined,
  B extends z.ZodType = z.ZodUndefined,
>(definition: RouteDefinition<Path, Q, B, R>): Route {
  return declare<Path, z.output<Q>, z.output<B>>(definition, undefined, definition.body, (call) => definition.handler(call));
}

/** What the author of an action writes. */
export interface ActionDefinition<Path extends string, B extends z.ZodType, R extends Responses> extends Versioned {
  /** Below `/v3` and the project, ends in `/action`. */
  readonly path: Path;
  /** The one key of the body. */
  readonly action: string;
  /** What stands under that key. */
  readonly body: B;
  readonly response: R;
  handler(call: Call<Path, undefined, z.output<B>>): Answer<R>;
}

/** Declares one of the actions that share `POST …/action` and are told apart by the key in their body. */
export function action<const Path extends string, B extends z.ZodType, R extends Responses>(
  definition: ActionDefinition<Path, B, R>,
): Route {
  const body = z.strictObject({ [definition.action]: definition.body });
  return declare({ ...definition, method: 'POST' }, definition.action, body, (call: Call<Path, undefined, object>) => {
    // The checked body has this key and no other.
    const [value] = Object.values(call.body);
    return definition.handler({ ...call, body: value as z.output<B> });
  });
}

function declare<Path extends string, Query, Body>(
  definition: Versioned & { method: Method; path: Path; query?: z.ZodType; response: Responses },
  actionName: string | undefined,
  body: z.ZodType | undefined,
  handler: (call: Call<Path, Query, Body>) => unknown,
): Route {
  const [response, ...more] = Object.entries(definition.response);
  if (!response || more.length > 0) {
    throw new ScoriaError('internal', `Route ${definition.method} ${definition.path} must have exactly one answer`);
  }
  const { query } = definition;
  return {
    method: definition.method,
    path: definition.path,
    summary: definition.summary,
    since: minorOf(definition.since ?? minimumVersion),
    until: minorOf(definition.until ?? maximumVersion),
    admin: definition.admin ?? false,
    begins: definition.begins ?? false,
    action: actionName,
    query,
    body,
    status: Number(response[0]),
    response: response[1],
    invoke: async (call, check) =>
      handler({
        ...call,
        // The path of this route has these parameters, or the router would not have chosen it.
        params: call.params as PathParameters<Path>,
        query: (query ? check(query, call.rawQuery) : undefined) as Query,
        body: (body ? check(body, call.body) : undefined) as Body,
      }),
  };
}
