import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../test/manual-clock.ts';
import { silentLog } from '../platform/log.ts';
import { Assembly } from './assembly.ts';
import { token, wired } from './token.ts';

interface Named {
  readonly name: string;
}
const Road = token<Named>('Road');
const Engine = token<Named>('Engine');
const Wheel = token<Named>('Wheel');
const Car = token<Named>('Car');

let told: string[] = [];
beforeEach(() => {
  told = [];
});

/** A part that tells of its life; what it does on top is for each test to say. */
class Part implements Named {
  readonly name: string = 'part';
  async start(): Promise<void> {
    told.push(`start ${this.name}`);
  }
  async stop(): Promise<void> {
    told.push(`stop ${this.name}`);
  }
}

@wired()
class EnginePart extends Part {
  override readonly name: string = 'engine';
}
@wired(Engine)
class WheelPart extends Part {
  override readonly name: string = 'wheel';
  readonly engine: Named;
  constructor(engine: Named) {
    super();
    this.engine = engine;
  }
}
@wired(Wheel, Engine, Road)
class CarPart extends Part {
  override readonly name: string = 'car';
  readonly parts: readonly Named[];
  constructor(wheel: Named, engine: Named, road: Named) {
    super();
    this.parts = [wheel, engine, road];
  }
}

const complete = () =>
  new Assembly()
    // The order of providing does not matter.
    .class(Car, CarPart)
    .class(Wheel, WheelPart)
    .class(Engine, EnginePart)
    .value(Road, { name: 'road' });

describe('the verification of an assembly', () => {
  it('makes everything once and gives the same thing to all who need it', () => {
    const assembly = complete();
    assembly.verify([Car]);
    const car = assembly.get(Car);
    expect(car).toBeInstanceOf(CarPart);
    expect(car).toHaveProperty('parts', [assembly.get(Wheel), assembly.get(Engine), assembly.get(Road)]);
    expect(assembly.get(Wheel)).toHaveProperty('engine', assembly.get(Engine));
  });

  it('tells what is missing and who asks for it, and what nobody uses, all together', () => {
    const Horn = token<Named>('Horn');
    const Radio = token<Named>('Radio');
    const assembly = new Assembly().class(Car, CarPart).class(Engine, EnginePart).value(Horn, { name: 'horn' });
    const verify = () => assembly.verify([Car, Radio]);
    expect(verify).toThrow('Car needs Wheel, which nobody provides');
    expect(verify).toThrow('Car needs Road, which nobody provides');
    expect(verify).toThrow('Radio is asked for, and nobody provides it');
    expect(verify).toThrow('Horn is provided, and nobody uses it');
  });

  it('tells a circle as a path', () => {
    @wired(Wheel)
    class EngineOfWheels extends WheelPart {
      constructor(needed: Named) {
        super(needed);
      }
    }
    const assembly = new Assembly().class(Engine, EngineOfWheels).class(Wheel, WheelPart);
    expect(() => assembly.verify([Wheel])).toThrow('these need each other in a circle: Engine → Wheel → Engine');
  });

  it('refuses a token that is provided twice', () => {
    expect(() => complete().value(Road, { name: 'other road' })).toThrow('Road is provided twice');
    expect(() => complete().class(Engine, EnginePart)).toThrow('Engine is provided twice');
  });

  it('keeps two assemblies apart', () => {
    const [one, other] = [complete(), complete()];
    one.verify([Car]);
    other.verify([Car]);
    expect(one.get(Engine)).not.toBe(other.get(Engine));
  });
});

describe('the life of an assembly', () => {
  const clock = new ManualClock();

  it('starts what is depended upon first, and stops in reverse', async () => {
    const assembly = complete();
    assembly.verify([Car]);
    await assembly.start();
    expect(told).toEqual(['start engine', 'start wheel', 'start car']);
    await assembly.stop(clock, silentLog, 1_000);
    expect(told.slice(3)).toEqual(['stop car', 'stop wheel', 'stop engine']);
  });

  it('leaves values alone: their life is the giver’s', async () => {
    @wired(Road)
    class Walker extends WheelPart {
      constructor(needed: Named) {
        super(needed);
      }
    }
    const assembly = new Assembly().value(Road, new EnginePart()).class(Wheel, Walker);
    assembly.verify([Wheel]);
    await assembly.start();
    await assembly.stop(clock, silentLog, 1_000);
    expect(told).toEqual(['start wheel', 'stop wheel']);
  });

  it('stops only what had begun to start when a start fails, and passes the failure on', async () => {
    @wired(Engine)
    class FlatWheel extends WheelPart {
      constructor(needed: Named) {
        super(needed);
      }
      override async start(): Promise<void> {
        told.push('start flat wheel');
        throw new Error('flat');
      }
    }
    const assembly = new Assembly()
      .class(Car, CarPart)
      .class(Wheel, FlatWheel)
      .class(Engine, EnginePart)
      .value(Road, { name: 'road' });
    assembly.verify([Car]);
    await expect(assembly.start()).rejects.toThrow('flat');
    await assembly.stop(clock, silentLog, 1_000);
    expect(told).toEqual(['start engine', 'start flat wheel', 'stop wheel', 'stop engine']);
  });

  it('goes on stopping when one part fails to stop or does not end in time, and logs it', async () => {
    const { promise: stuck, resolve: asked } = Promise.withResolvers<void>();
    @wired(Engine)
    class StuckWheel extends WheelPart {
      constructor(needed: Named) {
        super(needed);
      }
      override async stop(): Promise<void> {
        asked();
        await new Promise(() => undefined);
      }
    }
    @wired(Wheel, Engine, Road)
    class BrokenCar extends CarPart {
      constructor(wheel: Named, engine: Named, road: Named) {
        super(wheel, engine, road);
      }
      override async stop(): Promise<void> {
        throw new Error('broken');
      }
    }
    const logged: unknown[] = [];
    const log = { ...silentLog, error: (fields: object) => void logged.push(fields) };
    const assembly = new Assembly()
      .class(Car, BrokenCar)
      .class(Wheel, StuckWheel)
      .class(Engine, EnginePart)
      .value(Road, { name: 'road' });
    assembly.verify([Car]);
    await assembly.start();
    const stopping = assembly.stop(clock, log, 1_000);
    await stuck;
    clock.advance(1_000);
    await stopping;
    expect(told.at(-1)).toBe('stop engine');
    expect(logged).toMatchObject([
      { part: 'Car', err: { message: 'broken' } },
      { part: 'Wheel', err: { code: 'deadline-exceeded' } },
    ]);
  });
});
