import type { Clock, Log } from '@scoria/core';
import { FillForecast } from './fill-forecast.ts';

/** What is watched, as its report has it. */
export interface FillReport {
  /** Names it in the log: `thin pool vg/pool`. */
  readonly what: string;
  /** Bytes in use, of so many. */
  readonly used: number;
  readonly size: number;
  /** Percent from which the log warns, and from which it tells an error. */
  readonly warnAt: number;
  readonly alarmAt: number;
  /** What to do, one sentence. */
  readonly remedy: string;
}

type Level = 'calm' | 'warn' | 'error';

/** Time after which a state that lasts is told again, ms. */
const repeatAfter = 10 * 60 * 1000;

/** Tells in the log when something fills up: on each change for the worse, and now and then while it lasts. */
export class FillAlarm {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #watched = new Map<string, { readonly forecast: FillForecast; level: Level; toldAt: number }>();

  constructor({ clock, log }: { readonly clock: Clock; readonly log: Log }) {
    this.#clock = clock;
    this.#log = log;
  }

  observe(report: FillReport): void {
    const { what, used, size, warnAt, alarmAt, remedy } = report;
    const at = this.#clock.monotonic();
    const watched = this.#watched.get(what) ?? { forecast: new FillForecast(), level: 'calm' as const, toldAt: at };
    this.#watched.set(what, watched);
    watched.forecast.observe(at, used);
    const percent = (used / size) * 100;
    const level = percent >= alarmAt ? 'error' : percent >= warnAt ? 'warn' : 'calm';
    const before = watched.level;
    watched.level = level;
    if (level === 'calm' || (level === before && at - watched.toldAt < repeatAfter)) return;
    // Getting better is no news.
    if (before === 'error' && level === 'warn') return;
    watched.toldAt = at;
    const secondsToFull = watched.forecast.secondsToFull(size);
    const soon = secondsToFull === undefined ? '' : `, full in about ${duration(secondsToFull)} if it goes on like this`;
    const fields = {
      used,
      size,
      percent: Math.round(percent * 10) / 10,
      bytesPerSecond: watched.forecast.rate,
      secondsToFull,
      remedy,
    };
    this.#log[level](fields, `${what} is ${Math.floor(percent)} % full${soon}`);
  }

  /** Forgets what is gone. */
  forget(what: string): void {
    this.#watched.delete(what);
  }
}

function duration(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}
