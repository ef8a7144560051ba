import type { Command } from "commander";
import type { Flags } from "./flags.ts";
export function define(_command: Command): void {}
export async function resealCommand(_flags: Flags): Promise<void> {}
