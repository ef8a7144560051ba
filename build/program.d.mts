/** What to bundle. */
export interface ProgramBundle {
  name: string;
  version: string;
  /** The source of its main module. */
  entry: string;
  outfile: string;
  /** Constants built in, as source text. */
  define?: Record<string, string>;
}

/** Bundles one program. @returns the files that went into it */
export function bundleProgram(bundle: ProgramBundle): Promise<string[]>;
