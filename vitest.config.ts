import { defineConfig } from "vitest/config";

/** Pure code and vectors, no servers: part of `npm run check`. */
const unit = {
  name: "unit",
  include: ["test/{formats,controller,cli}/**/*.test.ts", "test/*.test.ts"],
  testTimeout: 30_000,
};

/** Real kubeseal against ours, both ways, on generated input. */
const interop = {
  name: "interop",
  include: ["test/interop/**/*.test.ts"],
  testTimeout: 900_000,
  hookTimeout: 900_000,
};

/** The controller against the embedded API and against a real kube-apiserver with etcd. */
const cluster = {
  name: "cluster",
  include: ["test/cluster/**/*.test.ts"],
  testTimeout: 180_000,
  hookTimeout: 900_000,
};

export default defineConfig({
  test: {
    projects: [unit, interop, cluster].map((test) => ({ test: { ...test, pool: "forks" as const } })),
    // The machines that run this have two cores; a cluster test starts servers of its own.
    maxWorkers: 2,
  },
});
