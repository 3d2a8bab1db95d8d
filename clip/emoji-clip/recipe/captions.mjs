// Batches of concepts with a picture and a caption each.
import { toneName } from "./art.mjs";

export const BATCH = 128;

// random is a generator of numbers in [0, 1) (mulberry32).
export function random(seed) {
  let s = seed >>> 0;
  return () => {
    s = (s + 0x6d2b79f5) >>> 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

// shuffle puts a list in random order (Fisher and Yates).
export function shuffle(list, rand) {
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(rand() * (i + 1));
    [list[i], list[j]] = [list[j], list[i]];
  }
  return list;
}

const pick = (list, rand) => list[Math.floor(rand() * list.length)];

const templates = [
  "an emoji of {}", "{} emoji", "the {} emoji", "an emoji showing {}", "emoji depicting {}",
  "an icon of {}", "{} icon", "an icon showing {}", "a small icon of {}",
  "a drawing of {}", "a drawing of a {}", "a small drawing of {}", "{} drawing", "a drawing showing {}",
  "a picture of {}", "a picture of a {}", "a small picture of {}", "a picture showing {}", "picture of the {}",
  "a symbol of {}", "the symbol for {}", "{} symbol", "the sign for {}", "a sticker of {}", "{} sticker", "art of {}",
];

// caption says what an emoji without tone shows: its name 45 %, a template around it 17 %, a
// shortcode 13 %, a keyword 12 %, 2 to 4 keywords 13 %.
function caption(concept, rand) {
  const { name, shortcodes, keywords } = concept, kind = rand();
  if (kind < 0.17) return pick(templates, rand).replace("{}", name);
  if (kind < 0.30 && shortcodes.length) return pick(shortcodes, rand);
  if (kind >= 0.30 && kind < 0.42 && keywords.length) return pick(keywords, rand);
  if (kind >= 0.42 && kind < 0.55 && keywords.length > 1)
    return shuffle([...keywords], rand).slice(0, 2 + Math.floor(rand() * 3)).join(" ");
  return name;
}

const toned = (concept, tone, rand) => `${concept.name} ${rand() < 0.5 ? "with " : ""}${toneName(tone)}`;

// samples yields steps x 128 pairs of a picture and a caption. Concepts follow in random
// order, each as often as any other, and none twice in a batch. Pictures are {concept, tone};
// 40 % are of a skin tone where there is one.
export function* samples(concepts, pictures, steps, seed) {
  const rand = random(seed), plainOf = new Map(), tonedOf = new Map();
  for (const p of pictures) {
    const of = p.tone ? tonedOf : plainOf;
    of.set(p.concept, [...(of.get(p.concept) ?? []), p]);
  }
  const known = [...plainOf.keys()].sort((a, b) => a - b);
  let order = [];
  for (let step = 0; step < steps; step++) {
    if (order.length < BATCH) order = shuffle([...known], rand);
    for (const concept of order.splice(0, BATCH)) {
      const tones = tonedOf.get(concept);
      const p = tones && rand() < 0.4 ? pick(tones, rand) : pick(plainOf.get(concept), rand);
      yield [p, p.tone ? toned(concepts[concept], p.tone, rand) : caption(concepts[concept], rand)];
    }
  }
}

// heldOut draws 110 concepts and a fifth of all pairs of a concept and a tone, which the
// reference run never sees. It returns whether a picture is one of them.
export function heldOut(concepts, seed) {
  const rand = random(seed);
  const without = new Set(shuffle([...concepts.keys()], rand).slice(0, 110));
  const pairs = concepts.flatMap((c, i) => c.tones.map((t) => `${i} ${t.tone}`));
  const withoutTone = new Set(shuffle(pairs, rand).slice(0, Math.round(pairs.length / 5)));
  return ({ concept, tone }) => without.has(concept) || withoutTone.has(`${concept} ${tone}`);
}
