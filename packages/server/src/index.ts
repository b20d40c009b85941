export { configurationSchema, type Configuration } from './configuration.ts';
export { defaultConfiguration } from './default-configuration.ts';
export type { Authenticator } from './http/authenticator.ts';
export { createHttpServer, type HttpServerOptions } from './http/server.ts';
export { serve, type Running, type ServeOptions } from './serve.ts';
