/** One measured quantity of ours beside the peer's, run by run. */
export interface Pairs {
  title: string;
  unit: string;
  ours: number[];
  theirs: number[];
}

/** The middle of a series; the mean of the two middle ones where their number is even. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((left, right) => left - right);
  const middle = sorted.length / 2;
  const [low, high] = [sorted[Math.ceil(middle) - 1] ?? Number.NaN, sorted[Math.floor(middle)] ?? Number.NaN];
  return (low + high) / 2;
}

/** Prints medians with their range, and the median of the ratios pair by pair, which holds when the machine's speed drifts. */
export function printPairs({ title, unit, ours, theirs }: Pairs): void {
  const ratios = ours.map((value, index) => value / (theirs[index] ?? Number.NaN));
  const show = (values: readonly number[]): string =>
    `${median(values).toFixed(1)} ${unit} (${Math.min(...values).toFixed(1)} to ${Math.max(...values).toFixed(1)})`;
  console.log(
    `${title}: ours ${show(ours)}, peer ${show(theirs)}, ratio ${median(ratios).toFixed(3)} over ${ours.length} pairs`,
  );
}
