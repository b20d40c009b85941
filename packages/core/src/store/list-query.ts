/** One condition of a list: the field compared with a value. `like` is "contains", letter case ignored. */
export interface Condition<Field extends string> {
  readonly field: Field;
  readonly op: 'eq' | 'neq' | 'gt' | 'gte' | 'lt' | 'lte' | 'like' | 'in';
  readonly value: string | number | boolean | null | readonly (string | number)[];
}

/** What a list asks for. Conditions are joined by AND. */
export interface ListQuery<Field extends string> {
  readonly where?: readonly Condition<Field>[];
  /** Only rows whose metadata has all of these pairs. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Default: newest first. The id is always the last key, so the order is total. */
  readonly sort?: readonly { readonly field: Field; readonly direction: 'asc' | 'desc' }[];
  /** At most this many rows. Default 1,000. */
  readonly limit?: number;
  /** Id of the last row of the page before; `not-found` when there is no such row. */
  readonly marker?: string;
  /** Rows to skip after the marker. */
  readonly offset?: number;
}
