// What comparing pixels is good for: a measure to pass for whatever learns.

// unit is a picture without its mean and of length 1. The dot product of two is their
// correlation.
function unit(pixels) {
  const mean = pixels.reduce((sum, v) => sum + v, 0) / pixels.length;
  const v = Float64Array.from(pixels, (p) => p - mean), length = Math.hypot(...v) || 1;
  return v.map((x) => x / length);
}

const dot = (a, b) => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
};

// baseline is, for each set of pictures, the share whose concept is that of the most similar
// picture in train (top1), or of the five most similar concepts (top5). It may look at
// pictures of all concepts, those that a model has not seen, too.
export function baseline({ train, ...sets }) {
  const known = train.map((t) => ({ concept: t.concept, unit: unit(t.pixels) }));
  const share = (set) => {
    let top1 = 0, top5 = 0;
    for (const { concept, pixels } of set) {
      const own = unit(pixels), best = new Map(); // the similarity of each concept
      for (const k of known) {
        const d = dot(own, k.unit);
        if (!(best.get(k.concept) >= d)) best.set(k.concept, d);
      }
      const first = [...best].sort((a, b) => b[1] - a[1]).slice(0, 5).map(([c]) => c);
      top1 += first[0] === concept;
      top5 += first.includes(concept);
    }
    return { images: set.length, top1: top1 / set.length, top5: top5 / set.length };
  };
  return Object.fromEntries(Object.entries(sets).map(([name, set]) => [name, share(set)]));
}
