import { createServer } from "node:http";
import { connect } from "node:net";

/**
 * The cluster's pod network, as the API server sees it through its egress selector: a CONNECT proxy on a unix socket that
 * takes every address of TEST-NET-1 (192.0.2.0/24) for 127.0.0.1. The API server itself refuses loopback endpoints, and
 * this needs neither an address of our own nor root.
 */
export async function startServiceNetwork(socket: string): Promise<{ stop(): Promise<void> }> {
  const server = createServer();
  const open = new Set<{ destroy(): void }>();
  server.on("connect", (request, client, head) => {
    const [, port] = request.url?.match(/^192\.0\.2\.\d+:(\d+)$/) ?? [];
    if (port === undefined) return void client.end("HTTP/1.1 403 Forbidden\r\n\r\n");
    const upstream = connect(Number(port), "127.0.0.1");
    for (const [end, other] of [[client, upstream] as const, [upstream, client] as const]) {
      open.add(end);
      end.on("error", () => other.destroy());
      end.on("close", () => open.delete(end));
    }
    upstream.once("connect", () => {
      client.write("HTTP/1.1 200 OK\r\n\r\n");
      upstream.write(head);
      client.pipe(upstream).pipe(client);
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(socket, resolve);
  });
  // It must not keep alive a test process that has nothing else to do.
  server.unref();
  return {
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
        for (const end of open) end.destroy();
      }),
  };
}
