/** Makes a call, with the caller's arguments unless it is given others. */
export type Proceed = (args?: readonly unknown[]) => unknown;

/** What stands around a call. */
export type Around = (verb: string, proceed: Proceed, args: readonly unknown[]) => unknown;

/** An object whose methods go through `around`; everything else is the object's own. */
export function intercepted<T extends object>(target: T, around: Around): T {
  return new Proxy(target, {
    get(object, key) {
      const value: unknown = Reflect.get(object, key);
      if (typeof value !== 'function' || typeof key !== 'string') return value;
      return (...args: unknown[]) => around(key, (others = args) => Reflect.apply(value, object, others) as unknown, args);
    },
  });
}

/** Calls through to `around` for each method of each member, for example of each repository. */
export function interceptedMembers<T extends object>(target: T, around: Around): T {
  const members = new Map<PropertyKey, object>();
  return new Proxy(target, {
    get(object, key) {
      const value: unknown = Reflect.get(object, key);
      if (typeof value !== 'object' || value === null) return value;
      const known =
        members.get(key) ?? intercepted(value, (verb, proceed, args) => around(`${String(key)}.${verb}`, proceed, args));
      members.set(key, known);
      return known;
    },
  });
}
