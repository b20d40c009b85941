import { addUnitAttention } from '../scsi/command.ts';
import { senseOf } from '../scsi/sense.ts';
import type { Task } from '../scsi/task-set.ts';
import { flag, makeHeader, responseOpcode, taskFunction, taskResponse, taskTagOf } from './pdu.ts';
import type { Session } from './session.ts';

/**
 * Carries out a Task Management request (RFC 7143, 11.5 and 4.2.3.2). The answer is sent when the tasks concerned can no
 * longer reach the device.
 */
export function manageTasks(session: Session, bhs: Buffer): void {
  const answer = makeHeader(responseOpcode.taskManagement, flag.final, taskTagOf(bhs));
  const reply = (response: number): void => {
    answer[2] = response;
    session.send(answer, true);
  };
  const unit = session.target?.logicalUnit;
  const code = bhs[1]! & 0x7f;
  if (unit === undefined) return reply(taskResponse.rejected);
  const aboutTarget = code === taskFunction.targetWarmReset || code === taskFunction.targetColdReset;
  const lunExists = (bhs[8]! & 0xbf) === 0 && bhs[9] === 0 && bhs.readUInt32BE(10) === 0;
  if (!lunExists && !aboutTarget && code !== taskFunction.taskReassign) return reply(taskResponse.noSuchLun);

  const abort = (chosen: (task: Task) => boolean, after: (aborted: readonly Task[]) => void): void => {
    void unit.taskSet.abort(chosen).then((aborted) => {
      after(aborted);
      reply(taskResponse.complete);
    });
  };
  const own = (task: Task): boolean => task.nexus === session.nexus;
  switch (code) {
    case taskFunction.abortTask: {
      const task = session.task(bhs.readUInt32BE(20));
      if (task === undefined) {
        // A command that never came, or not in its turn, is taken for received and aborted (RFC 7143, 11.5.1).
        const skipped = session.skip(bhs.readUInt32BE(32), bhs.readUInt32BE(24));
        return reply(skipped ? taskResponse.complete : taskResponse.noSuchTask);
      }
      return abort(
        (candidate) => candidate === task,
        () => {},
      );
    }
    case taskFunction.abortTaskSet:
      return abort(own, () => {});
    case taskFunction.clearTaskSet:
      return abort(
        () => true,
        (aborted) => {
          for (const { nexus } of aborted) if (nexus !== session.nexus) addUnitAttention(nexus, senseOf.commandsCleared);
        },
      );
    case taskFunction.logicalUnitReset:
    case taskFunction.targetWarmReset:
      return abort(
        () => true,
        () => {
          unit.reset();
          for (const nexus of unit.nexuses) addUnitAttention(nexus, senseOf.busDeviceReset);
        },
      );
    case taskFunction.targetColdReset: {
      const sessions = [...(session.target?.sessions ?? [])];
      return abort(
        () => true,
        () => {
          unit.reset();
          for (const nexus of unit.nexuses) addUnitAttention(nexus, senseOf.powerOn);
          // A cold reset ends the sessions of the target, this one too (RFC 7143, 11.5.1).
          for (const other of sessions) void other.drop();
        },
      );
    }
    case taskFunction.taskReassign:
      return reply(taskResponse.reassignNotSupported);
    default:
      return reply(taskResponse.notSupported);
  }
}
