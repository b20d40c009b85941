import 'reflect-metadata';
import { inject, injectable } from 'tsyringe';

declare const provided: unique symbol;

/** Names a thing that the container provides. Interface and token share a name; the type parameter keeps them together. */
export type Token<T> = symbol & { readonly [provided]: T };

/** Makes a token. */
export function token<T>(name: string): Token<T> {
  return Symbol.for(`@scoria/core/${name}`) as Token<T>;
}

type Provided<Tokens extends readonly Token<unknown>[]> = {
  [Index in keyof Tokens]: Tokens[Index] extends Token<infer T> ? T : never;
};

const dependencies = new WeakMap<object, readonly Token<unknown>[]>();

/**
 * Lists the tokens of a class's constructor, in order. A missing, swapped or superfluous one is a compile error; a
 * length that differs all the same fails when the class is loaded.
 */
export function wired<const Tokens extends readonly Token<unknown>[]>(...tokens: Tokens) {
  return <Class extends new (...args: Provided<Tokens>) => object>(target: Class): void => {
    if (target.length !== tokens.length) {
      throw new Error(`${target.name} takes ${target.length} arguments and is wired with ${tokens.length} tokens`);
    }
    tokens.forEach((each, index) => inject(each)(target, undefined, index));
    (injectable() as (target: object) => void)(target);
    dependencies.set(target, tokens);
  };
}

/** The tokens with which a class was wired. */
export function dependenciesOf(target: object): readonly Token<unknown>[] {
  const found = dependencies.get(target);
  if (!found) throw new Error(`${'name' in target ? String(target.name) : 'A class'} is provided but not @wired`);
  return found;
}
