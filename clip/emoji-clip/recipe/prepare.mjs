// node prepare.mjs reference|ship FOLDER writes the data of a training; see README.md.
// node prepare.mjs baseline FOLDER compares pixels, as a model without learning would.
// node prepare.mjs topics FOLDER writes pictures in folders of classes, to fine-tune on.
import { createWriteStream, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { join } from "node:path";
import { misnamed, readArt, readConcepts } from "./art.mjs";
import { heldOut, samples } from "./captions.mjs";
import { baseline } from "./baseline.mjs";
import { rasterise } from "./rasterise.mjs";

const packs = ["noto", "noto-v1", "fluent-emoji-flat", "fluent-emoji", "fxemoji", "flag", "circle-flags"];
const recipes = {
  reference: { packs, steps: 4669, holdOut: true }, // misnamed drawings were in when it ran
  ship: { packs: [...packs, "twemoji"], steps: 12000, holdOut: false, without: misnamed },
};
const evaluated = ["twemoji", "openmoji", "noto"];
const SEED = 20240601;

const field = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
const number = (i) => String(i).padStart(4, "0");

// table writes a table of pictures and captions.
async function table(path, rows) {
  const out = createWriteStream(path);
  out.write("filepath,title\n");
  for (const [file, title] of rows) if (!out.write(`${file},${field(title)}\n`)) await once(out, "drain");
  out.end();
  await once(out, "finish");
}

// draw rasterises a package's art into folder, and what is to be evaluated on white into
// folders of classes. It returns the pictures: {concept, tone, file, pixels}.
async function draw(pack, concepts, folder, trained, without) {
  const jobs = readArt(pack, concepts, without);
  if (trained) mkdirSync(join(folder, "train", pack), { recursive: true });
  jobs.forEach((j, i) => {
    j.file = join("train", pack, `${number(j.concept)}-${j.tone}-${i}.png`);
    if (trained) j.clear = join(folder, j.file);
    if (!evaluated.includes(pack) || j.tone) return;
    const classes = join(folder, "eval", pack, number(j.concept));
    mkdirSync(classes, { recursive: true });
    j.white = join(classes, "picture.png");
  });
  const failed = await rasterise(jobs);
  const pictures = jobs.filter((j) => j.pixels);
  console.log(`${pack}: ${pictures.length} pictures, ${pictures.filter((p) => !p.tone).length} without a skin tone` +
    (failed ? `, ${failed} that the rasteriser cannot draw` : ""));
  return pictures;
}

async function prepare(recipe, folder) {
  const { packs, steps, holdOut, without } = recipes[recipe];
  const concepts = readConcepts();
  mkdirSync(join(folder, "eval"), { recursive: true });
  writeFileSync(join(folder, "names.txt"), concepts.map((c) => c.name + "\n").join(""));
  const held = holdOut ? heldOut(concepts, SEED) : () => false;
  const trained = [], pixels = { train: [] };
  for (const pack of new Set([...packs, ...evaluated])) {
    const trains = packs.includes(pack);
    const pictures = await draw(pack, concepts, folder, trains, without);
    const base = pictures.filter((p) => !p.tone), small = base.map((p) => ({ concept: p.concept, pixels: p.pixels }));
    if (trains) {
      trained.push(...pictures.filter((p) => !held(p)));
      pixels.train.push(...small);
    } else pixels[pack] = small;
    if (!evaluated.includes(pack)) continue;
    for (const c of concepts.keys()) mkdirSync(join(folder, "eval", pack, number(c)), { recursive: true });
    await table(join(folder, "eval", `${pack}.csv`), base.map((p) => [`${pack}/${number(p.concept)}/picture.png`, concepts[p.concept].name]));
  }
  writeFileSync(join(folder, "pixels.json"), JSON.stringify(pixels));
  const rows = function* () { for (const [p, title] of samples(concepts, trained, steps, SEED + 1)) yield [p.file, title]; };
  await table(join(folder, "train.csv"), rows());
  console.log(`train.csv: ${steps} steps; ${trained.length} pictures of ${new Set(trained.map((p) => p.concept)).size} concepts`);
}

// topics writes pictures of OpenMoji's on white, in a folder for each of emojibase's subgroups
// that has 16 (animals, vegetables, games, ...): 8 to fine-tune on, and 8 to measure by.
async function topics(folder) {
  const concepts = readConcepts(), of = new Map();
  for (const j of readArt("openmoji", concepts)) {
    const { topic, people, flag } = concepts[j.concept];
    if (!j.tone && !people && !flag) of.set(topic, [...(of.get(topic) ?? []), j]);
  }
  const jobs = [];
  for (const [topic, all] of of)
    if (all.length >= 16)
      for (const [i, j] of all.slice(0, 16).entries()) {
        const half = join(folder, i % 2 ? "held-out" : "pictures-by-class", topic.replaceAll("-", "_"));
        mkdirSync(half, { recursive: true });
        jobs.push({ ...j, white: join(half, `${number(j.concept)}.png`) });
      }
  await rasterise(jobs);
}

const [command, folder] = process.argv.slice(2);
if (command === "baseline" && existsSync(join(folder ?? "", "pixels.json")))
  console.log(JSON.stringify(baseline(JSON.parse(readFileSync(join(folder, "pixels.json")))), null, 1));
else if (command === "topics" && folder) await topics(folder);
else if (recipes[command] && folder) await prepare(command, folder);
else {
  console.error("usage: node prepare.mjs reference|ship FOLDER\n       node prepare.mjs baseline FOLDER (that was prepared)\n       node prepare.mjs topics FOLDER");
  process.exitCode = 2;
}
