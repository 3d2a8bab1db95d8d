// What comparing pixels is good for: a measure to pass for whatever learns.

const distance = (a, b) => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2;
  return sum;
};

// baseline is, for each set of pictures, the share whose concept is that of the nearest
// picture in train (top1), or of the nearest five different concepts (top5).
export function baseline({ train, ...sets }) {
  const share = (set) => {
    let top1 = 0, top5 = 0;
    for (const { concept, pixels } of set) {
      const nearest = new Map(); // the least distance of each concept
      for (const t of train) {
        const d = distance(pixels, t.pixels);
        if (!(nearest.get(t.concept) <= d)) nearest.set(t.concept, d);
      }
      const first = [...nearest].sort((a, b) => a[1] - b[1]).slice(0, 5).map(([c]) => c);
      top1 += first[0] === concept;
      top5 += first.includes(concept);
    }
    return { pictures: set.length, top1: top1 / set.length, top5: top5 / set.length };
  };
  return Object.fromEntries(Object.entries(sets).map(([name, set]) => [name, share(set)]));
}
