// Which drawing shows which emoji, in npm's packages of artwork.
import { readFileSync } from "node:fs";

const packages = new URL("node_modules/", import.meta.url);
const json = (path) => JSON.parse(readFileSync(new URL(path, packages)));

const tones = ["light", "medium-light", "medium", "medium-dark", "dark"];

// plain is how captions and the tokenizer's vocabulary write a text: lower case without
// accents, spaces for hyphens and underscores.
export const plain = (text) =>
  text.normalize("NFD").replace(/[\u0300-\u036f“”:]/g, "").replaceAll("’", "'").toLowerCase()
    .replace(/[-_]+/g, " ").replace(/\s+/g, " ").trim();

const slug = (text) => plain(text).replace(/[^a-z0-9 ]/g, "").trim().replace(/ +/g, "-");
const squeezed = (text) => slug(text).replaceAll("-", "");
// Packages differ in whether codepoints hold the variation selector.
const code = (hex) => hex.toLowerCase().replace(/-fe0f/g, "");

// concepts are the emoji that have a name of their own, in emojibase's order. Parts such as
// single letters of flags and bare skin tones are none.
export function readConcepts() {
  const shortcodes = ["emojibase", "github", "iamcal"].map((s) => json(`emojibase-data/en/shortcodes/${s}.json`));
  const topics = json("emojibase-data/meta/groups.json").subgroups;
  return json("emojibase-data/en/data.json").filter((e) => e.group !== undefined && e.group !== 2)
    .sort((a, b) => a.order - b.order)
    .map((e) => {
      const name = plain(e.label);
      const others = (list) => [...new Set(list.flat().filter(Boolean).map(plain))].filter((t) => t && t !== name);
      return {
        name, label: e.label, topic: topics[e.subgroup], people: e.group < 2, code: code(e.hexcode), flag: e.subgroup === 100 || /^flag: /.test(e.label),
        shortcodes: others(shortcodes.map((s) => s[e.hexcode])), keywords: others(e.tags ?? []),
        tones: (e.skins ?? []).filter((s) => typeof s.tone === "number").map((s) => ({ tone: s.tone, code: code(s.hexcode) })),
      };
    });
}

// readIcons are a package's drawings by name, as whole SVGs that fit a square.
function readIcons(pack) {
  const set = json(`@iconify-json/${pack}/icons.json`);
  const icons = new Map();
  for (const name of Object.keys(set.icons)) icons.set(name, svg(set, set.icons[name]));
  for (const [name, alias] of Object.entries(set.aliases ?? {})) {
    const parent = set.icons[alias.parent];
    if (parent) icons.set(name, svg(set, { ...parent, ...alias }));
  }
  return icons;
}

function svg(set, icon) {
  const size = (key, otherwise) => icon[key] ?? set[key] ?? otherwise;
  const [left, top, width, height] = [size("left", 0), size("top", 0), size("width", 16), size("height", 16)];
  const body = icon.hFlip ? `<g transform="translate(${2 * left + width} 0) scale(-1 1)">${icon.body}</g>` : icon.body;
  return `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="72" height="72" ` +
    `viewBox="${left} ${top} ${width} ${height}">${body}</svg>`;
}

// byCode finds an emoji's drawing in a package that has a list of codepoints.
function byCode(pack) {
  const names = new Map(Object.entries(json(`@iconify-json/${pack}/chars.json`)).map(([hex, name]) => [code(hex), name]));
  return (concept, tone) => names.get(tone ? tone.code : concept.code);
}

// byName finds it where icons are named as emojibase names them.
const byName = (concept, tone) => (tone ? undefined : slug(concept.label));

// bySqueezedName finds names that are written in one word, or a shortcode that is.
function bySqueezedName(concepts) {
  const names = new Map();
  for (const c of concepts) for (const s of c.shortcodes) names.set(squeezed(s), names.has(squeezed(s)) ? null : c);
  for (const c of concepts) names.set(squeezed(c.name), c);
  return (icon) => names.get(squeezed(icon));
}

// country is a flag's code as packages of flags name it: fr, or gb-sct of a region.
const country = (concept) => {
  if (!concept.flag) return undefined;
  const points = concept.code.split("-").map((h) => parseInt(h, 16));
  if (points.length === 2 && points[0] >= 0x1f1e6 && points[0] <= 0x1f1ff)
    return points.map((p) => String.fromCharCode(p - 0x1f1e6 + 97)).join("");
  const tags = points.slice(1, -1).map((p) => String.fromCharCode(p - 0xe0000)).join("");
  return tags && points[0] === 0x1f3f4 ? `${tags.slice(0, 2)}-${tags.slice(2)}` : undefined;
};

// misnamed are drawings of fxemoji that show something else than the emoji of that name or
// shortcode: a ribbon, a wave of the sea, a hand that points.
export const misnamed = new Set(["bow", "wave", "down", "couple", "pout", "pouting", "pistol", "sunglasses"]);

// readArt lists a package's drawings of emoji: {pack, concept (index), tone (0: none), svg},
// but for those that without names.
export function readArt(pack, concepts, without = new Set()) {
  const icons = readIcons(pack);
  const art = [];
  const add = (concept, tone, icon) => icons.has(icon) && art.push({ pack, concept, tone, svg: icons.get(icon) });
  if (pack === "fxemoji") {
    const find = bySqueezedName(concepts);
    for (const icon of icons.keys()) if (find(icon) && !without.has(icon)) add(concepts.indexOf(find(icon)), 0, icon);
    return art;
  }
  const flat = byCode("fluent-emoji-flat"); // whose icons have the names of fluent-emoji's
  const find = {
    "flag": (c) => country(c) && `${country(c)}-4x3`, "circle-flags": country, "noto-v1": byName,
    "fluent-emoji": (c, t) => (t ? undefined : flat(c)),
  }[pack] ?? byCode(pack);
  concepts.forEach((c, i) => {
    add(i, 0, find(c));
    if (pack !== "flag" && pack !== "circle-flags") for (const t of c.tones) add(i, t.tone, find(c, t));
  });
  return art;
}

export const toneName = (tone) => plain(`${tones[tone - 1]} skin tone`);
