// `npm run bench [NAME...]`: ours and the peer side by side, in one run, as ratios. Times on a shared machine vary; ratios hold.
import { benchChurn } from "./churn.ts";
import { benchCluster } from "./cluster.ts";
import { benchMutations } from "./fuzz.ts";
import { benchSeal } from "./seal.ts";

const benches: Record<string, () => Promise<void>> = {
  seal: benchSeal,
  cluster: benchCluster,
  mutations: benchMutations,
  churn: benchChurn,
};

/** Takes hours; runs only by its name. */
const onlyByName = "churn";

const chosen = process.argv.slice(2);
const unknown = chosen.filter((name) => !Object.hasOwn(benches, name));
if (unknown.length > 0) {
  console.error(`no bench named ${unknown.join(", ")}; there are: ${Object.keys(benches).join(", ")}`);
  process.exit(2);
}
for (const [name, bench] of Object.entries(benches)) {
  if (chosen.length === 0 ? name !== onlyByName : chosen.includes(name)) await bench();
}
