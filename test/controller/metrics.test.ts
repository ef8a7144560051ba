import { expect, test } from "vitest";
import { Metrics } from "../../controller/metrics.ts";
import type { KubeObject } from "../../controller/kube-api.ts";

async function linesOf(metrics: Metrics): Promise<string[]> {
  const { text } = await metrics.exposition();
  return text.split("\n").filter((line) => /^sealed_secrets_controller_|^sealwright_/.test(line));
}

function object(name: string, instance?: string): KubeObject {
  const labels = instance === undefined ? {} : { "app.kubernetes.io/instance": instance };
  return { metadata: { namespace: "ns", name, labels } };
}

test("upstream's names and labels", async () => {
  const metrics = new Metrics({ revision: "v1" });
  metrics.unsealRequested();
  metrics.unsealError("unseal", "ns");
  metrics.condition(object("a", "shop"), "Synced", "True");
  metrics.condition(object("b"), "Synced", "False");
  metrics.condition(object("c"), "Synced", "Unknown");
  metrics.httpRequest({ path: "/v1/verify", method: "post", status: 409, durationMs: 20 });
  const lines = await linesOf(metrics);
  const name = "sealed_secrets_controller_";
  const labels = (of: string, instance: string) =>
    `{namespace="ns",name="${of}",condition="Synced",ss_app_kubernetes_io_instance="${instance}"}`;
  for (const line of [
    `build_info{revision="v1"} 1`,
    "unseal_requests_total 1",
    `unseal_errors_total{reason="unseal",namespace="ns"} 1`,
    `condition_info${labels("a", "shop")} 1`,
    `condition_info${labels("b", "")} -1`,
    `condition_info${labels("c", "")} 0`,
    `http_requests_total{path="/v1/verify",method="post",code="409"} 1`,
    `http_request_duration_seconds_bucket{le="0.025",path="/v1/verify",method="post"} 1`,
    `http_request_duration_seconds_count{path="/v1/verify",method="post"} 1`,
  ])
    expect(lines).toContain(name + line);
});

test("our own metrics", async () => {
  const metrics = new Metrics({ revision: "v1" });
  metrics.reconciled("SealedSecret", "ok", 30);
  metrics.drift("SealedSecret", "data");
  metrics.queueLatency(40);
  metrics.observeQueue(() => 7);
  metrics.observeLeadership(() => true);
  const lastActivity = performance.now() - 5000;
  metrics.observeWatch("secrets", () => lastActivity);
  metrics.apiRequest({ verb: "get", resource: "secrets", status: 200 });
  metrics.eventDropped();
  metrics.sealingKeys(3, new Date(Date.now() + 3_600_000));
  metrics.keySecretMalformed("k", true);
  metrics.keySecretMalformed("l", true);
  metrics.keySecretMalformed("l", false);
  const lines = await linesOf(metrics);
  for (const line of [
    `reconcile_total{kind="SealedSecret",result="ok"} 1`,
    `reconcile_duration_seconds_count{kind="SealedSecret"} 1`,
    `drift_total{kind="SealedSecret",change="data"} 1`,
    "queue_depth 7",
    "leader 1",
    "queue_latency_seconds_count 1",
    `api_requests_total{verb="get",resource="secrets",code="200"} 1`,
    "events_dropped_total 1",
    `sealing_keys{state="newest"} 1`,
    `sealing_keys{state="older"} 2`,
    "key_secrets_malformed 1",
  ])
    expect(lines).toContain(`sealwright_${line}`);
  const value = (start: string) => Number(lines.find((line) => line.startsWith(start))!.split(" ")[1]);
  expect(value("sealwright_sealing_key_expiry_seconds")).toBeCloseTo(3600, -1);
  expect(value(`sealwright_watch_last_activity_seconds{resource="secrets"}`)).toBeGreaterThanOrEqual(5);
});

test("the process is measured too", async () => {
  const { text, contentType } = await new Metrics({ revision: "v1" }).exposition();
  expect(text).toMatch(/^process_resident_memory_bytes \d/m);
  expect(contentType).toMatch(/^text\/plain; version=0\.0\.4/);
});

test("a deleted object leaves no series, a relabelled one keeps one", async () => {
  const metrics = new Metrics({ revision: "v1" });
  metrics.condition(object("a", "old"), "Synced", "True");
  metrics.condition(object("a", "new"), "Synced", "True");
  metrics.condition(object("a", "new"), "Ready", "True");
  metrics.condition(object("ab"), "Synced", "True");
  const series = async () => (await linesOf(metrics)).filter((line) => line.includes("condition_info{"));
  expect(await series()).toHaveLength(3);
  metrics.removeObject("ns", "a");
  expect(await series()).toHaveLength(1);
  metrics.removeObject("ns", "unknown");
});

test("--metrics-omit-secret-labels: no namespace and no name anywhere", async () => {
  const metrics = new Metrics({ revision: "v1", omitSecretLabels: true });
  metrics.condition(object("a"), "Synced", "True");
  metrics.unsealError("unseal", "ns");
  const text = (await linesOf(metrics)).join("\n");
  expect(text).toContain(`unseal_errors_total{reason="unseal",namespace=""} 1`);
  expect(text).not.toMatch(/name="a"|namespace="ns"/);
});
