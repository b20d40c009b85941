import { createHash } from 'node:crypto';
import { type IdempotencyKey, type Plan } from '@scoria/core';
import type { FastifyRequest } from 'fastify';
import { HttpError } from './http-error.ts';
import type { Route } from './route.ts';

/** Longest idempotency key, in characters. */
const longestKey = 255;

/**
 * The request's name of its own, from its header `Idempotency-Key`: sent again with the same route and body, it joins what
 * the first one began. It belongs to the caller's project. Never the request id: clients send one for many calls.
 */
export function idempotencyOf(request: FastifyRequest): IdempotencyKey | undefined {
  const key = request.headers['idempotency-key'];
  if (key === undefined || request.method === 'GET') return undefined;
  if (typeof key !== 'string' || key === '' || key.length > longestKey) {
    throw new HttpError(400, `The header Idempotency-Key must have 1 to ${longestKey} characters.`);
  }
  const digest = createHash('sha256').update(`${request.method} ${request.url}\n${JSON.stringify(request.body) ?? ''}`);
  return { key, fingerprint: digest.digest('base64url') };
}

/** Whether the header `X-Scoria-Plan: true` asks for a plan in place of the work. 400 where there is nothing to plan. */
export function wantsPlan(request: FastifyRequest, route: Route): boolean {
  const wanted = request.headers['x-scoria-plan'];
  if (wanted === undefined || wanted === 'false') return false;
  if (wanted !== 'true') throw new HttpError(400, 'The header X-Scoria-Plan is true or false.');
  if (!route.begins) throw new HttpError(400, 'This request begins no operation, so there is nothing to plan.');
  return true;
}

/** A plan as it is answered. */
export function planView(plan: Plan): object {
  return {
    plan: {
      operation: plan.operation,
      estimate: plan.estimate,
      bytes: plan.bytes,
      milliseconds: plan.milliseconds,
      host: plan.hostString,
      steps: plan.steps.map(({ name, role, kind, bytes, passedOver }) => ({ name, role, kind, bytes, passed_over: passedOver })),
    },
  };
}
