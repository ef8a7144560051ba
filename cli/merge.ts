import type { Flags } from "./flags.ts";
export async function mergeInto(_flags: Flags, _target: string): Promise<void> {}
