/** Refuses to run the tests on an older Node, by name: npm falls back to the machine's own when install scripts were off. */
export default function requireNode24(): void {
  const major = Number(process.versions.node.split('.')[0]);
  if (major < 24) {
    throw new Error(
      `The tests need Node 24 or later and run on ${process.version}. Run "npm ci" without --ignore-scripts, then "npm test".`,
    );
  }
}
