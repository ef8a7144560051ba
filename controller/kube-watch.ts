import { parseObject } from "./kube-answer.ts";
import type { KubeObject, WatchEvent } from "./kube-api.ts";
import { type Call, describe, refusal, type StatusBody, unavailable } from "./kube-error.ts";
import type { Exchange } from "./kube-request.ts";

/** An etcd value is at most 1.5 MiB; JSON escapes can make it several times that. */
const maxFrameBytes = 16 * 1024 * 1024;
const newline = 0x0a;

/**
 * The events of an open watch. Bytes become text only as whole lines, so that a character split between two chunks stays
 * whole, and a line that the connection cut short is a failure instead of half an object.
 */
export async function* watchEvents(
  exchange: Exchange,
  call: Call,
  silenceMs: number,
): AsyncGenerator<WatchEvent> {
  let parts: Uint8Array[] = [];
  let held = 0;
  for (;;) {
    exchange.deadline(silenceMs);
    const chunk = await exchange.read();
    exchange.deadline(undefined);
    if (chunk === undefined) break;
    let from = 0;
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, from)) {
      const line = Buffer.concat([...parts, chunk.subarray(from, end)]);
      parts = [];
      held = 0;
      from = end + 1;
      if (line.length > 0) yield parseFrame(line, call);
    }
    if (from < chunk.length) {
      parts.push(chunk.subarray(from));
      held += chunk.length - from;
    }
    if (held > maxFrameBytes) throw unavailable(`${describe(call)}: event is larger than 16 MiB`);
  }
  if (held > 0) throw unavailable(`${describe(call)}: stream ended within an event`);
}

interface Frame {
  type: string;
  object: KubeObject & StatusBody;
}

function parseFrame(line: Uint8Array, call: Call): WatchEvent {
  const frame = parseObject(line, call) as unknown as Partial<Frame>;
  if (typeof frame.object !== "object") throw unavailable(`${describe(call)}: event is not readable`);
  switch (frame.type) {
    case "ADDED":
    case "MODIFIED":
    case "DELETED":
    case "BOOKMARK":
      return { type: frame.type, object: frame.object };
    case "ERROR":
      throw refusal(call, { status: frame.object.code ?? 500, body: frame.object });
    default:
      throw unavailable(`${describe(call)}: event of unknown type`);
  }
}
