import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sealedSecrets } from "../../controller/sealed-secret.ts";
import { startSubject, type Subject, type SubjectSetup } from "./subject.ts";

/** The behaviour of the controller towards SealedSecrets and their Secrets, on whatever serves the Kubernetes API. */
export function describeSealedSecrets(title: string, setUp: () => Promise<SubjectSetup>): void {
  describe(`SealedSecrets on ${title}`, () => {
    let subject: Subject;
    beforeAll(async () => {
      subject = await startSubject(await setUp());
    });
    afterAll(() => subject.stop());

    const managed = { "sealedsecrets.bitnami.com/managed": "true" };
    const patch = { "sealedsecrets.bitnami.com/patch": "true" };

    describe("unsealing", () => {
      test("a SealedSecret becomes a Secret, its status is Synced and Ready, and an Unsealed event is written", async () => {
        const name = subject.newName();
        await subject.seal({
          name,
          entries: { foo: "bar" },
          labels: { app: "shop" },
          annotations: { note: "x" },
        });
        const secret = await subject.secret(name);
        const sealed = await subject.synced(name);
        expect(subject.values(secret)).toEqual({ foo: "bar" });
        expect(secret["type"]).toBe("Opaque");
        expect(secret.metadata.labels).toEqual({ app: "shop" });
        expect(secret.metadata.annotations).toEqual({ note: "x" });
        expect(secret.metadata.ownerReferences).toEqual([
          {
            apiVersion: "bitnami.com/v1alpha1",
            kind: "SealedSecret",
            name,
            uid: sealed.metadata.uid,
            controller: true,
          },
        ]);
        const conditions = subject.conditions(sealed);
        expect(conditions.map(({ type, status }) => `${type}=${status}`)).toEqual([
          "Synced=True",
          "Ready=True",
        ]);
        expect(conditions[0]!.lastTransitionTime).toBe(conditions[0]!.lastUpdateTime);
        expect(await subject.event(sealed, "Unsealed")).toMatchObject({
          type: "Normal",
          message: "SealedSecret unsealed successfully",
        });
      });

      test("changed, renamed and added items arrive, and observedGeneration follows", async () => {
        const name = subject.newName();
        await subject.seal({ name, entries: { foo: "1", old: "2" } });
        await subject.synced(name);
        await subject.seal({ name, entries: { foo: "3", new: "2", more: "4" } });
        await subject.until(name, (secret) => subject.values(secret)["foo"] === "3");
        expect(subject.values(await subject.secret(name))).toEqual({ foo: "3", new: "2", more: "4" });
        expect((await subject.synced(name))["status"]).toMatchObject({ observedGeneration: 2 });
      });

      test("type and immutability come from the template", async () => {
        const name = subject.newName();
        const type = "kubernetes.io/dockerconfigjson";
        await subject.seal({ name, entries: { ".dockerconfigjson": "{}" }, type, immutable: true });
        expect(await subject.secret(name)).toMatchObject({ type, immutable: true });
      });

      test("T51: binary values and invalid UTF-8 arrive byte by byte", async () => {
        const name = subject.newName();
        const bytes = Buffer.from([0, 255, 254, 0xc3, 0x28, 10, 13, 0]);
        await subject.seal({ name, entries: { bin: bytes, empty: "" } });
        const secret = await subject.secret(name);
        expect(secret["data"]).toEqual({ bin: bytes.toString("base64"), empty: "" });
      });

      test("an object sealed to an unknown key makes no Secret, a False condition and an ErrUnsealFailed event", async () => {
        const name = subject.newName();
        await subject.seal({
          name,
          entries: { foo: "bar" },
          certificate: await subject.foreignCertificate(),
        });
        const failed = await subject.failed(name, "CannotUnseal");
        expect(subject.conditions(failed).map(({ type, status }) => `${type}=${status}`)).toEqual([
          "Synced=False",
          "Ready=False",
          "Stalled=True",
        ]);
        expect((await subject.event(failed, "ErrUnsealFailed"))["message"]).toContain(
          "no key could decrypt secret (foo)",
        );
        expect(await subject.findSecret(name)).toBeUndefined();
      });

      test("the deprecated spec.data form is opened, as upstream does by default", async () => {
        const name = subject.newName();
        await subject.sealBlob(name, {
          kind: "Secret",
          apiVersion: "v1",
          metadata: { name },
          data: { foo: "YmFy" },
        });
        expect(subject.values(await subject.secret(name))).toEqual({ foo: "bar" });
      });
    });

    describe("scope", () => {
      test.each([
        ["strict", "name", false],
        ["strict", "namespace", false],
        ["namespace-wide", "name", true],
        ["namespace-wide", "namespace", false],
        ["cluster-wide", "name", true],
        ["cluster-wide", "namespace", true],
      ] as const)("T04: %s, moved to another %s: opens %s", async (scope, moved, opens) => {
        const name = subject.newName();
        const sealedFor = moved === "name" ? { name: `${name}-was` } : { namespace: "elsewhere" };
        await subject.seal({ name, entries: { foo: "bar" }, scope, sealedFor });
        if (opens) {
          expect(subject.values(await subject.secret(name))).toEqual({ foo: "bar" });
          return;
        }
        const failed = await subject.failed(name, "CannotUnseal");
        expect(subject.conditions(failed)[0]!.message).toMatch(/another name, namespace or scope/);
        expect(await subject.findSecret(name)).toBeUndefined();
      });

      test("T54: correcting only the scope annotation is enough, and the cause was named before", async () => {
        const name = subject.newName();
        await subject.seal({
          name,
          entries: { foo: "bar" },
          scope: "cluster-wide",
          annotatedScope: "strict",
        });
        const failed = await subject.failed(name, "CannotUnseal");
        expect(subject.conditions(failed)[0]!.message).toContain("sealed with scope cluster-wide");
        await subject.annotate("sealedsecrets", name, { "sealedsecrets.bitnami.com/cluster-wide": "true" });
        expect(subject.values(await subject.secret(name))).toEqual({ foo: "bar" });
        expect(subject.conditions(await subject.synced(name)).map(({ type }) => type)).toEqual([
          "Synced",
          "Ready",
        ]);
      });
    });

    describe("existing Secrets", () => {
      test("T53: an unmanaged one is refused, named, and replaced once it is gone", async () => {
        const name = subject.newName();
        await subject.createSecret(name, { own: "value" });
        await subject.seal({ name, entries: { foo: "bar" } });
        const failed = await subject.failed(name, "NotManaged");
        expect(subject.conditions(failed)[0]!.message).toContain(
          "already exists and is not managed by SealedSecret",
        );
        expect(subject.values(await subject.secret(name))).toEqual({ own: "value" });
        await subject.deleteSecret(name);
        await subject.until(name, (secret) => subject.values(secret)["foo"] === "bar");
        await subject.synced(name);
      });

      test("T53: annotating the unmanaged one is enough", async () => {
        const name = subject.newName();
        await subject.createSecret(name, { own: "value" });
        await subject.seal({ name, entries: { foo: "bar" } });
        await subject.failed(name, "NotManaged");
        await subject.annotate("secrets", name, managed);
        await subject.until(name, (secret) => subject.values(secret)["foo"] === "bar");
      });

      test("`managed`: replaced wholesale, and owned from then on", async () => {
        const name = subject.newName();
        await subject.createSecret(name, { own: "value" }, { annotations: managed, labels: { was: "here" } });
        await subject.seal({ name, entries: { foo: "bar" }, labels: { is: "now" } });
        const secret = await subject.until(name, (found) => found.metadata.ownerReferences !== undefined);
        expect(subject.values(secret)).toEqual({ foo: "bar" });
        expect(secret.metadata.labels).toEqual({ is: "now" });
        expect(secret.metadata.annotations ?? {}).toEqual({});
      });

      test("`patch`: merged, nothing removed, not owned", async () => {
        const name = subject.newName();
        await subject.createSecret(name, { own: "value" }, { annotations: patch, labels: { was: "here" } });
        await subject.seal({ name, entries: { foo: "bar" }, labels: { is: "now" } });
        const secret = await subject.until(name, (found) => subject.values(found)["foo"] === "bar");
        expect(subject.values(secret)).toEqual({ foo: "bar", own: "value" });
        expect(secret.metadata.labels).toEqual({ was: "here", is: "now" });
        expect(secret.metadata.ownerReferences).toBeUndefined();
      });

      test("`managed` and `patch`: merged and owned; an empty one as well", async () => {
        const name = subject.newName();
        await subject.createSecret(name, {}, { annotations: { ...managed, ...patch } });
        await subject.seal({ name, entries: { foo: "bar" } });
        const secret = await subject.until(name, (found) => found.metadata.ownerReferences !== undefined);
        expect(subject.values(secret)).toEqual({ foo: "bar" });
      });

      test("`skip-set-owner-references` alone is enough for a Secret that the controller made", async () => {
        const name = subject.newName();
        const annotations = { "sealedsecrets.bitnami.com/skip-set-owner-references": "true" };
        await subject.seal({ name, entries: { foo: "bar" }, annotations });
        expect((await subject.secret(name)).metadata.ownerReferences).toBeUndefined();
        await subject.seal({ name, entries: { foo: "baz" }, annotations });
        await subject.until(name, (secret) => subject.values(secret)["foo"] === "baz");
        await subject.synced(name);
      });

      test("T53: an immutable one is named, and replaced once it is gone", async () => {
        const name = subject.newName();
        await subject.seal({ name, entries: { foo: "bar" }, immutable: true });
        await subject.synced(name);
        await subject.seal({ name, entries: { foo: "baz" }, immutable: true });
        const failed = await subject.failed(name, "ImmutableSecret");
        expect(failed["status"]).toMatchObject({ observedGeneration: 2 });
        expect((await subject.event(failed, "ErrUpdateFailed"))["message"]).toContain(
          "the target Secret is immutable",
        );
        await subject.deleteSecret(name);
        await subject.until(name, (secret) => subject.values(secret)["foo"] === "baz");
      });

      test("T53: one of the wrong type is named, and replaced once it is gone", async () => {
        const name = subject.newName();
        await subject.createSecret(
          name,
          { username: "u", password: "p" },
          { annotations: managed, type: "kubernetes.io/basic-auth" },
        );
        await subject.seal({ name, entries: { foo: "bar" }, type: "Opaque" });
        await subject.failed(name, "Rejected");
        await subject.deleteSecret(name);
        await subject.until(name, (secret) => subject.values(secret)["foo"] === "bar");
      });
    });

    describe("drift", () => {
      test("an edited value, an added and a removed key are healed, and named with who did it", async () => {
        const name = subject.newName();
        await subject.seal({ name, entries: { foo: "bar", gone: "1" } });
        const sealed = await subject.synced(name);
        await subject.editSecret(
          name,
          { data: { foo: Buffer.from("edited").toString("base64"), more: "eA==", gone: null } },
          "kubectl-edit",
        );
        await subject.until(name, (secret) => subject.values(secret)["foo"] === "bar");
        expect(subject.values(await subject.secret(name))).toEqual({ foo: "bar", gone: "1" });
        const event = await subject.event(sealed, "DriftHealed");
        expect(event["message"]).toBe(
          "changed: foo; added: more; removed: gone (last written by kubectl-edit)",
        );
        expect(await subject.metric(/^sealwright_drift_total\{.*change="data".*\} (\d+)/m)).toBeGreaterThan(
          0,
        );
      });

      test("changed labels are healed", async () => {
        const name = subject.newName();
        await subject.seal({ name, entries: { foo: "bar" }, labels: { app: "shop" } });
        const sealed = await subject.synced(name);
        await subject.editSecret(name, { metadata: { labels: { app: "other" } } }, "kubectl-label");
        await subject.until(name, (secret) => secret.metadata.labels?.["app"] === "shop");
        expect((await subject.event(sealed, "DriftHealed"))["message"]).toBe(
          "metadata: labels (last written by kubectl-label)",
        );
      });

      test("a deleted Secret is made again", async () => {
        const name = subject.newName();
        await subject.seal({ name, entries: { foo: "bar" } });
        const before = await subject.secret(name);
        const sealed = await subject.synced(name);
        await subject.deleteSecret(name);
        await subject.until(name, (secret) => secret.metadata.uid !== before.metadata.uid);
        expect((await subject.event(sealed, "DriftHealed"))["message"]).toBe("removed: foo");
      });

      test("nothing is written when nothing changed, whatever the label or annotation", async () => {
        const name = subject.newName();
        await subject.seal({ name, entries: { foo: "bar" } });
        await subject.synced(name);
        const before = await subject.secret(name);
        await subject.annotate("sealedsecrets", name, { "example.com/touched": "1" });
        const touched = await subject.sealedSecret(name);
        await subject.passesBeyond(touched);
        expect((await subject.secret(name)).metadata.resourceVersion).toBe(before.metadata.resourceVersion);
        expect((await subject.sealedSecret(name)).metadata.resourceVersion).toBe(
          touched.metadata.resourceVersion,
        );
      });

      test("T32: a status that contradicts the last pass, as a late write leaves it, is put right", async () => {
        const name = subject.newName();
        await subject.seal({ name, entries: { foo: "bar" } });
        const synced = await subject.synced(name);
        const late = subject
          .conditions(synced)
          .map((condition) => ({ ...condition, status: "False", reason: "Forbidden" }));
        const status = { ...(synced["status"] as object), conditions: late };
        await subject.kube.updateStatus(sealedSecrets, { ...synced, status });
        await subject.synced(name);
      });

      test("T52: a SealedSecret deleted and made again at once has its Secret in the end", async () => {
        const name = subject.newName();
        await subject.seal({ name, entries: { foo: "bar" } });
        const before = await subject.synced(name);
        await subject.deleteSealedSecret(name);
        await subject.seal({ name, entries: { foo: "bar" } });
        const after = await subject.synced(name);
        expect(after.metadata.uid).not.toBe(before.metadata.uid);
        await subject.until(
          name,
          (secret) => secret.metadata.ownerReferences?.[0]?.uid === after.metadata.uid,
        );
      });

      test("the Secret of a deleted SealedSecret is collected", async () => {
        const name = subject.newName();
        await subject.seal({ name, entries: { foo: "bar" } });
        await subject.secret(name);
        await subject.deleteSealedSecret(name);
        await subject.untilGone(name);
      });
    });

    describe("what cannot become a Secret", () => {
      test("T50: too large, or with an entry name that Kubernetes refuses: a terminal condition, and no loop", async () => {
        const [large, misnamed] = [subject.newName(), subject.newName()];
        await subject.seal({
          name: large,
          entries: { a: Buffer.alloc(700_000, 1), b: Buffer.alloc(348_577, 2) },
        });
        await subject.seal({ name: misnamed, entries: { "not/a name": "x" } });
        for (const name of [large, misnamed]) {
          const failed = await subject.failed(name, "Rejected");
          expect(subject.conditions(failed).map(({ type }) => type)).toContain("Stalled");
          const passes = await subject.countPasses(name, 3_000);
          expect(passes).toBe(0);
        }
      });

      test("T03, T66: templates are not rendered: a condition says so, other objects go on, no value appears", async () => {
        const name = subject.newName();
        const canary = "canary-7f3a-plaintext";
        const data = {
          a: "{{ fail .secret }}",
          b: '{{ env "PATH" }}',
          c: '{{ getHostByName "localhost" }}',
          d: "{{ now }}",
        };
        await subject.seal({ name, entries: { secret: canary }, templateData: data });
        const failed = await subject.failed(name, "TemplateUnsupported");
        expect(JSON.stringify([failed, await subject.event(failed, "ErrUnsealFailed")])).not.toContain(
          canary,
        );
        expect(subject.logs()).not.toContain(canary);
        expect(await subject.findSecret(name)).toBeUndefined();
        const other = subject.newName();
        await subject.seal({ name: other, entries: { foo: "bar" } });
        await subject.synced(other);
      });

      test("T71: keys of the prototype are data like any other", async () => {
        const name = subject.newName();
        await subject.seal({
          name,
          entries: { __proto__x: "1", constructor: "2" },
          labels: { constructor: "x" },
        });
        expect(subject.values(await subject.secret(name))).toEqual({ __proto__x: "1", constructor: "2" });
      });
    });

    describe("sealing keys", () => {
      test("a key added by hand opens what waited for it, without a restart", async () => {
        const name = subject.newName();
        const key = await subject.newKey();
        await subject.seal({ name, entries: { foo: "bar" }, certificate: key.certificate });
        await subject.failed(name, "CannotUnseal");
        await subject.addKey(key);
        expect(subject.values(await subject.secret(name))).toEqual({ foo: "bar" });
      });

      test("a key relabelled `compromised` opens nothing any more, and opens again when it is active", async () => {
        const key = await subject.newKey();
        const keySecret = await subject.addKey(key);
        const [before, during] = [subject.newName(), subject.newName()];
        await subject.seal({ name: before, entries: { foo: "bar" }, certificate: key.certificate });
        await subject.synced(before);
        await subject.labelKey(keySecret, "compromised");
        await subject.failed(before, "CannotUnseal");
        await subject.seal({ name: during, entries: { foo: "bar" }, certificate: key.certificate });
        await subject.failed(during, "CannotUnseal");
        await subject.labelKey(keySecret, "active");
        await subject.synced(before);
        await subject.synced(during);
      });

      test("T11: a malformed key Secret is skipped and reported, the rest works", async () => {
        const bad = await subject.addKey({ privateKeyPem: "not a key", certificatePem: "not a certificate" });
        expect(
          (await subject.event({ kind: "Secret", metadata: bad.metadata }, "InvalidCertificate"))["message"],
        ).toContain("is malformed and skipped");
        const name = subject.newName();
        await subject.seal({ name, entries: { foo: "bar" } });
        await subject.synced(name);
        expect(await subject.metric(/^sealwright_key_secrets_malformed (\d+)/m)).toBe(1);
      });
    });
  });
}
