/** A server on 127.0.0.1 to show to the cluster as a Service. */
export interface ExposedService {
  namespace: string;
  name: string;
  /** The name of its only port; absent for an unnamed one, as in upstream's own manifest. */
  portName?: string;
  /** The port on 127.0.0.1; calling again with another moves the Service. */
  localPort: number;
}

/**
 * Creates the Service with an Endpoints object, and with the Pod that must own the endpoint's address before the API
 * server's service proxy connects to it. Answers at
 * `/api/v1/namespaces/{namespace}/services/http:{name}:{portName}/proxy/`.
 */
export async function exposeService(
  kubectl: (args: readonly string[], stdin?: string) => Promise<string>,
  service: ExposedService,
): Promise<void> {
  const apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
  await kubectl(apply, JSON.stringify({ apiVersion: "v1", kind: "List", items: manifests(service) }));
  await kubectl([...apply, "--subresource=status"], JSON.stringify(podStatus(service)));
}

/** Any address of the range that the service network takes for 127.0.0.1; all services may share it. */
const address = "192.0.2.10";

function manifests({ namespace, name, portName, localPort }: ExposedService): object[] {
  const metadata = { name, namespace };
  const port = portName === undefined ? {} : { name: portName };
  const container = { name: "outside", image: "outside" };
  return [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } },
    { apiVersion: "v1", kind: "Service", metadata, spec: { ports: [{ ...port, port: 8080 }] } },
    { apiVersion: "v1", kind: "Pod", metadata, spec: { containers: [container] } },
    {
      apiVersion: "v1",
      kind: "Endpoints",
      metadata,
      subsets: [
        {
          addresses: [{ ip: address, targetRef: { kind: "Pod", name, namespace } }],
          ports: [{ ...port, port: localPort }],
        },
      ],
    },
  ];
}

function podStatus({ namespace, name }: ExposedService): object {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace },
    status: { podIP: address, podIPs: [{ ip: address }] },
  };
}
