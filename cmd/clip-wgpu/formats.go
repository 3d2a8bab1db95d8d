package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// countFormats lists counts, the largest first, as "2 HEIC, 1 AVIF (not supported)".
func countFormats(counts map[string]int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(counts[b]-counts[a], strings.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%d %s", counts[name], name)
	}
	return strings.Join(names, ", ") + " (not supported)"
}

// noteLeftOut tells of pictures in folders that were not read.
func (c *console) noteLeftOut(counts map[string]int) {
	total := 0
	for _, n := range counts {
		total += n
	}
	if total > 0 {
		c.note("%s left out: %s", plural(total, "file"), countFormats(counts))
	}
}

// plural returns "1 file" for one, "2 files" for two.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
