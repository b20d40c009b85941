const plugins = 'driver-[^/]+|scheduler-weighers|store-sql|identity-local';

/** The layers: core knows nobody, plug-ins know core, assemblies know all. */
module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } } },
    {
      name: 'core-knows-no-other-package',
      comment: 'Core defines the contracts; whoever implements them depends on core.',
      severity: 'error',
      from: { path: '^packages/core/src' },
      to: { path: '^packages/(?!core/)' },
    },
    {
      name: 'core-knows-no-http-and-no-sql',
      severity: 'error',
      from: { path: '^packages/core/src' },
      to: { path: 'node_modules/(fastify|kysely|pg|pino|yaml|commander)/|^(node:)?(http|https|sqlite)$' },
    },
    {
      name: 'container-only-in-core-plugin',
      comment: 'A driver knows no container; core wires itself in one folder.',
      severity: 'error',
      from: { path: '^packages/', pathNot: '^packages/core/src/plugin' },
      to: { path: 'node_modules/(tsyringe|reflect-metadata)/' },
    },
    {
      name: 'plug-ins-know-only-core',
      severity: 'error',
      from: { path: `^packages/(${plugins})/src`, pathNot: '\\.test\\.ts$' },
      to: { path: '^packages/(?!core/)', pathNot: ['^packages/$1/'] },
    },
    {
      name: 'conformance-knows-only-core',
      severity: 'error',
      from: { path: '^packages/conformance/src', pathNot: '\\.test\\.ts$' },
      to: { path: '^packages/(?!core/|conformance/)' },
    },
    {
      name: 'http-stays-in-the-server',
      severity: 'error',
      from: { path: '^packages/', pathNot: '^packages/server/' },
      to: { path: 'node_modules/fastify' },
    },
    {
      name: 'sources-know-no-tests',
      severity: 'error',
      from: { path: '^packages/[^/]+/src', pathNot: '\\.test\\.ts$' },
      to: { path: '\\.test\\.ts$|^test/|^packages/[^/]+/test/' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '/dist/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['@scoria/source', 'import', 'default', 'types'] },
  },
};
