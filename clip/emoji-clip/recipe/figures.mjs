// node figures.mjs, in the folder of a recipe that is trained and evaluated, writes
// figures.json and says what is in it.
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";

const lines = (path) => readFileSync(path, "utf8").trim().split("\n");
const records = (path) => lines(path).map((l) => JSON.parse(l));

// curve is the loss, smoothed over some twenty steps, at a few of them and at the end.
function curve() {
  const at = {};
  let smooth, last;
  for (const { step, loss } of records("run/log.jsonl")) {
    smooth = smooth === undefined ? loss : 0.95 * smooth + 0.05 * loss;
    if ([600, 1200, 1800, 2400].includes(step)) at[step] = smooth;
    last = step;
  }
  return { ...at, [last]: smooth };
}

// cpuSeconds are those of all pieces, by what the shell's times has of child processes.
function cpuSeconds() {
  if (!existsSync("times.txt")) return undefined; // trained by hand
  const seconds = lines("times.txt").filter((_, i) => i % 2).flatMap((l) => l.split(" "))
    .map((t) => t.match(/(\d+)m([\d.]+)s/)).reduce((sum, [, m, s]) => sum + 60 * m + +s, 0);
  return Math.round(seconds);
}

// measured are a model's results: of an image the name, and of a name the image.
function measured(path) {
  const sets = ["twemoji", "openmoji", "noto"], all = records(path);
  return Object.fromEntries(sets.map((set, i) => {
    const { images, classes, top1, top5 } = all[2 * i], back = all[2 * i + 1];
    return [set, { images, names: classes, top1, top5, "R@1": back["text_to_image_R@1"], "R@10": back["text_to_image_R@10"] }];
  }));
}

const made = measured("eval-model.jsonl"), shipped = measured("eval-emoji-clip.jsonl");
const baseline = JSON.parse(readFileSync("baseline.json"));
const figures = { loss: curve(), cpu_seconds: cpuSeconds(), made, shipped, baseline };
writeFileSync("figures.json.part", JSON.stringify(figures, null, 2) + "\n");
renameSync("figures.json.part", "figures.json");

const percent = (v) => (v === undefined ? "" : (100 * v).toFixed(1)).padStart(7);
console.log("loss, smoothed: " + Object.entries(figures.loss).map(([step, v]) => `${v.toFixed(2)} at step ${step}`).join(", "));
if (figures.cpu_seconds) console.log(`CPU time of the training: ${figures.cpu_seconds} s`);
console.log(`${"".padEnd(28)}  top-1  top-5    R@1   R@10`);
for (const set of Object.keys(made))
  for (const [who, r] of [["made", made[set]], ["shipped", shipped[set]], ["pixels", baseline[set]]])
    if (r) console.log(`${set.padEnd(10)}${who.padEnd(18)}` + [r.top1, r.top5, r["R@1"], r["R@10"]].map(percent).join(""));
const [a, b] = [made.openmoji, shipped.openmoji];
console.log(`On OpenMoji, which neither has seen, it is ${a.top1 > b.top1 && a.top5 > b.top5 ? "better" : "not better"} than the weights that the repository ships.`);
