import { readFile } from 'node:fs/promises';
import { Agent, request, type OutgoingHttpHeaders } from 'node:http';
import { join } from 'node:path';
import { passwordInOpenrc } from '@scoria/identity-local';
import { z } from 'zod';

const tokenSchema = z.object({ token: z.object({ project: z.object({ id: z.string() }) }) });

interface Answer {
  readonly status: number;
  readonly token: string | undefined;
  /** Not parsed: what a client does with it is not the service's time. */
  readonly text: string;
}

/** A caller of the Block Storage API over connections that stay open, logged in as the administrator of the data directory. */
export class ApiClient {
  readonly projectId: string;
  readonly #url: string;
  readonly #headers: OutgoingHttpHeaders;
  readonly #agent: Agent;

  private constructor(url: string, projectId: string, token: string, agent: Agent) {
    this.#url = url;
    this.projectId = projectId;
    this.#headers = { 'x-auth-token': token, 'openstack-api-version': 'volume 3.65' };
    this.#agent = agent;
  }

  static async login(url: string, dataDirectory: string): Promise<ApiClient> {
    const password = passwordInOpenrc(await readFile(join(dataDirectory, 'openrc'), 'utf8'));
    const agent = new Agent({ keepAlive: true, maxSockets: 64 });
    const domain = { id: 'default' };
    const answer = await ask(
      agent,
      'POST',
      `${url}/identity/v3/auth/tokens`,
      {},
      {
        auth: {
          identity: { methods: ['password'], password: { user: { name: 'admin', domain, password } } },
          scope: { project: { name: 'admin', domain } },
        },
      },
    );
    if (answer.token === undefined) throw new Error(`No token was given: ${answer.status}`);
    return new ApiClient(url, tokenSchema.parse(JSON.parse(answer.text)).token.project.id, answer.token, agent);
  }

  /** Calls the API below the project's path; anything but success is an error. Returns the text of the answer. */
  async call(method: 'GET' | 'POST' | 'PUT', path: string, body?: object): Promise<string> {
    const { status, text } = await ask(this.#agent, method, `${this.#url}/v3/${this.projectId}${path}`, this.#headers, body);
    if (status >= 300) throw new Error(`${method} ${path} was answered with ${status}: ${text.slice(0, 400)}`);
    return text;
  }

  close(): void {
    this.#agent.destroy();
  }
}

function ask(agent: Agent, method: string, url: string, headers: OutgoingHttpHeaders, body?: object): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const text = body && JSON.stringify(body);
  const length = text !== undefined && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
  const outgoing = request(url, { method, agent, headers: { ...headers, ...length }, timeout: 30_000 }, (response) => {
    const chunks: Buffer[] = [];
    response.on('data', (chunk: Buffer) => void chunks.push(chunk));
    response.on('error', reject);
    response.on('end', () => {
      const token = response.headers['x-subject-token'];
      resolve({
        status: response.statusCode ?? 0,
        token: typeof token === 'string' ? token : undefined,
        text: Buffer.concat(chunks).toString(),
      });
    });
  });
  outgoing.on('timeout', () => outgoing.destroy(new Error(`${method} ${url} was not answered within 30 s`)));
  outgoing.on('error', reject);
  outgoing.end(text);
  return promise;
}
