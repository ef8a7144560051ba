import { SecretError } from "../formats/errors.ts";
import type { Kube, Resource } from "./kube-api.ts";

/**
 * The API with writes for a leader only: each asks right before it is sent. A leader that is frozen just after asking may
 * still send; that write loses against whatever its successor did, since an update and a status write carry the version
 * that they were decided on, and a create finds the name taken.
 * @throws SecretError `NotLeader` by every write while `leads` says no
 */
export function guarded(kube: Kube, leads: () => boolean): Kube {
  const admit = async <T>(verb: string, { kind }: Resource, write: () => Promise<T>): Promise<T> => {
    if (leads()) return write();
    throw new SecretError("NotLeader", `${verb} ${kind}: another replica leads`, {
      hint: "the leader does it; kubectl get lease sealwright-controller names it",
    });
  };
  return {
    defaultNamespace: kube.defaultNamespace,
    get: (...call) => kube.get(...call),
    list: (...call) => kube.list(...call),
    watch: (...call) => kube.watch(...call),
    create: (...call) => admit("create", call[0], () => kube.create(...call)),
    update: (...call) => admit("update", call[0], () => kube.update(...call)),
    updateStatus: (...call) => admit("update status of", call[0], () => kube.updateStatus(...call)),
    patch: (...call) => admit("patch", call[0], () => kube.patch(...call)),
    delete: (...call) => admit("delete", call[0], () => kube.delete(...call)),
    close: () => kube.close(),
  };
}
