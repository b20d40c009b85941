import { describe, expect, it } from 'vitest';
import { dependenciesOf, token, wired } from './token.ts';

class Engine {
  readonly power = 1;
}
class Wheel {
  readonly spokes = 32;
}
const engine = token<Engine>('test/Engine');
const wheel = token<Wheel>('test/Wheel');

describe('wired', () => {
  it('keeps the tokens of a class in the order of its constructor', () => {
    @wired(engine, wheel)
    class Car {
      readonly parts: readonly [Engine, Wheel];
      constructor(its: Engine, other: Wheel) {
        this.parts = [its, other];
      }
    }
    expect(dependenciesOf(Car)).toEqual([engine, wheel]);
  });

  it('does not compile with a swapped, missing or superfluous token', () => {
    class Car {
      readonly parts: readonly [Engine, Wheel];
      constructor(its: Engine, other: Wheel) {
        this.parts = [its, other];
      }
    }
    // @ts-expect-error swapped
    wired(wheel, engine)(Car);
    // @ts-expect-error missing
    expect(() => wired(engine)(Car)).toThrow();
    // TypeScript lets a constructor take fewer arguments than it is given; loading does not.
    expect(() => wired(engine, wheel, wheel)(Car)).toThrow();
  });

  it('fails when the class is loaded if the numbers differ, and names the class', () => {
    class Cart {
      readonly wheel: Wheel | undefined;
      constructor(its?: Wheel) {
        this.wheel = its;
      }
    }
    expect(() => wired(wheel, wheel)(Cart)).toThrow('Cart takes 1 arguments and is wired with 2 tokens');
  });

  it('gives the same token for the same name, so that two copies of core agree', () => {
    expect(token<Engine>('test/Engine')).toBe(engine);
  });

  it('says which class was provided without being wired', () => {
    expect(() => dependenciesOf(Engine)).toThrow('Engine is provided but not @wired');
  });
});
