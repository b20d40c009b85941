import type { DeviceOpener } from '@scoria/core';
import { intercepted } from './interception.ts';
import type { Activity } from './virtual-time.ts';

/** An opener whose devices hold virtual time up while they work. Streams are not for its users. */
export function trackedOpener(open: DeviceOpener, activity: Activity): DeviceOpener {
  return async (locator, options) => {
    const device = await activity.track(() => open(locator, options));
    return intercepted(device, (_verb, proceed) => activity.track(() => proceed()));
  };
}
