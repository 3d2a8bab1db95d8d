package posembed

import (
	"math"
	"sort"
)

// ResizeOffsets makes a table of biases by how far apart the tokens of a window of from
// rows and columns are, [(2·rows − 1)·(2·columns − 1), heads], one of a window to. Rows and
// columns of the old table lie the further apart the further from the middle, so that they
// cover the new one; between them it is linear (resize_rel_pos_bias_table of timm's
// pos_embed_rel.py).
func ResizeOffsets(table []float32, heads int, from, to [2]int) []float32 {
	rows, columns := spread(from[0], to[0]), spread(from[1], to[1])
	out := make([]float32, 0, len(rows)*len(columns)*heads)
	width := 2*from[1] - 1
	for _, r := range rows {
		for _, c := range columns {
			for h := range heads {
				at := func(row, column int) float64 { return float64(table[(row*width+column)*heads+h]) }
				upper := c.between(at(r.left, c.left), at(r.left, c.right))
				lower := c.between(at(r.right, c.left), at(r.right, c.right))
				out = append(out, float32(r.between(upper, lower)))
			}
		}
	}
	return out
}

// neighbours are the two old offsets that a new one lies between, and the share of the right.
type neighbours struct {
	left, right int
	share       float64
}

func (n neighbours) between(left, right float64) float64 { return left + n.share*(right-left) }

// spread finds the neighbours of each offset of a window of to tokens, from 1 − to on, among
// those of a window of from tokens, which stand at 0, ±1, ±(1 + q), ±(1 + q + q²) ….
func spread(from, to int) []neighbours {
	low, high, q := 1.01, 1.5, 0.0
	for high-low > 1e-6 {
		q = (low + high) / 2
		if (1-math.Pow(q, float64(from-1)))/(1-q) > float64(to-1) {
			high = q
		} else {
			low = q
		}
	}
	at, step := make([]float64, 2*from-1), 1.0
	for i := 1; i < from; i++ {
		at[from-1+i] = at[from-2+i] + step
		at[from-1-i] = -at[from-1+i]
		step *= q
	}
	all := make([]neighbours, 2*to-1)
	for i := range all {
		x := float64(i - to + 1)
		right := min(sort.SearchFloat64s(at, x), len(at)-1)
		n := neighbours{left: max(0, right-1), right: right}
		if span := at[n.right] - at[n.left]; span > 0 {
			n.share = min(1, max(0, (x-at[n.left])/span))
		}
		all[i] = n
	}
	return all
}
