import type { AnyTransport } from '../transport/transport.ts';
import type { Guard } from './guard.ts';
import { transportAnswers } from './plugin-answers.ts';

const quick = 30_000;
/** Initiators may have commands under way that a slow disk holds up. */
const fencing = 120_000;
const long = 300_000;

/** A transport behind core's {@link Guard}. */
export function guardTransport(transport: AnyTransport, guard: Guard): AnyTransport {
  const { hold, release, copy, mirror, commitMirror, endMirror, limit } = transport;
  return {
    reaches: transport.reaches,
    start: (call) => guard.call('start', { patience: quick, objects: [] }, call, (inner) => transport.start(inner)),
    stop: () => transport.stop(),
    export: (request, call) =>
      guard.call('export', { patience: quick, objects: [request.accessId] }, call, (inner) => transport.export(request, inner)),
    unexport: (accessId, call) =>
      guard.call('unexport', { patience: fencing, objects: [accessId] }, call, (inner) => transport.unexport(accessId, inner)),
    list: (call) =>
      guard.call('list', { patience: quick, objects: [] }, call, async (inner) =>
        guard.wellFormed('list', transportAnswers.exports, await transport.list(inner)),
      ),
    resize: (volumeId, call) =>
      guard.call('resize', { patience: quick, objects: [volumeId] }, call, (inner) => transport.resize(volumeId, inner)),
    connectionInfo: (request) => {
      try {
        const told = transport.connectionInfo(request);
        return guard.wellFormed('connectionInfo', transportAnswers.connectionInfo, told);
      } catch (error) {
        throw guard.coded('connectionInfo', error);
      }
    },
    ...(hold && {
      hold: (volumeId, ms, call) =>
        guard.call('hold', { patience: quick, objects: [] }, call, async (inner) =>
          guard.wellFormed('hold', transportAnswers.hold, await hold.call(transport, volumeId, ms, inner)),
        ),
    }),
    ...(release && {
      release: (token, call) =>
        guard.call('release', { patience: quick, objects: [] }, call, async (inner) =>
          guard.wellFormed('release', transportAnswers.released, await release.call(transport, token, inner)),
        ),
    }),
    ...(copy && {
      copy: (volumeId, source, target, call) =>
        guard.call('copy', { patience: long, objects: [] }, call, (inner) =>
          copy.call(transport, volumeId, source, target, inner),
        ),
    }),
    ...(mirror && {
      mirror: (volumeId, source, target, call) =>
        guard.call('mirror', { patience: long, objects: [] }, call, (inner) =>
          mirror.call(transport, volumeId, source, target, inner),
        ),
    }),
    ...(commitMirror && {
      commitMirror: (volumeId, call) =>
        guard.call('commitMirror', { patience: quick, objects: [] }, call, (inner) =>
          commitMirror.call(transport, volumeId, inner),
        ),
    }),
    ...(endMirror && {
      endMirror: (volumeId, keep, call) =>
        guard.call('endMirror', { patience: fencing, objects: [] }, call, (inner) =>
          endMirror.call(transport, volumeId, keep, inner),
        ),
    }),
    ...(limit && {
      limit: (volumeId, limits, call) =>
        guard.call('limit', { patience: quick, objects: [volumeId] }, call, (inner) =>
          limit.call(transport, volumeId, limits, inner),
        ),
    }),
    stats: (call) => guard.call('stats', { patience: quick, objects: [] }, call, (inner) => transport.stats(inner)),
  };
}
