// Draws SVGs in child processes: the rasteriser aborts on some drawings.
import { fork } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Resvg } from "@resvg/resvg-js";

export const SIZE = 72;
const CELLS = 12; // a side of the small pictures that the baseline compares

// small is a picture on white as the means of 12 x 12 cells of its red, green and blue.
function small(pixels) {
  const cell = SIZE / CELLS, sums = new Float64Array(CELLS * CELLS * 3);
  for (let y = 0; y < SIZE; y++)
    for (let x = 0; x < SIZE; x++)
      for (let c = 0; c < 3; c++)
        sums[((y / cell | 0) * CELLS + (x / cell | 0)) * 3 + c] += pixels[(y * SIZE + x) * 4 + c];
  return Array.from(sums, (v) => Math.round(v / cell / cell * 100) / 100);
}

const draw = (svg, options) =>
  new Resvg(svg, { font: { loadSystemFonts: false }, fitTo: { mode: "width", value: SIZE }, ...options }).render();

// The child draws what it is told and answers with the job's number.
if (process.argv[2] === "draw" && process.send)
  process.on("message", ({ number, svg, clear, white }) => {
    if (clear) writeFileSync(clear, draw(svg).asPng());
    const onWhite = draw(svg, { background: "#ffffff" });
    if (white) writeFileSync(white, onWhite.asPng());
    process.send({ number, pixels: small(onWhite.pixels) });
  });

// rasterise draws jobs {svg, clear, white}: clear and white are the files of a picture with
// alpha and of one on white, either may be absent. It sets pixels of those that worked and
// returns how many did not.
export async function rasterise(jobs, processes = 2) {
  let next = 0, failed = 0;
  const work = () => new Promise((done) => {
    let child, current = -1;
    const give = () => {
      if (next >= jobs.length) { child.disconnect(); return done(); }
      current = next++;
      const { svg, clear, white } = jobs[current];
      child.send({ number: current, svg, clear, white });
    };
    const start = () => {
      child = fork(fileURLToPath(import.meta.url), ["draw"], { stdio: ["ignore", "ignore", "ignore", "ipc"] });
      child.on("message", ({ number, pixels }) => { jobs[number].pixels = pixels; current = -1; give(); });
      child.on("exit", () => { if (current >= 0) { failed++; current = -1; start(); } });
      give();
    };
    start();
  });
  await Promise.all(Array.from({ length: processes }, work));
  return failed;
}
