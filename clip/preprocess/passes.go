package preprocess

// round8 brings a fixed-point sum back to a pixel.
func round8(sum int32) uint8 {
	return clip8((sum + 1<<(precisionBits-1)) >> precisionBits)
}

// round32 rounds half away from zero, as Pillow's ROUND_UP.
func round32(sum float64) int32 {
	if sum >= 0 {
		return int32(sum + 0.5)
	}
	return int32(sum - 0.5)
}

// resample resizes horizontally, then vertically, rounding in between. src is
// [y.n, x.n, bands], the result [y.len(), x.len(), bands].
//
// Each row is added to all the rows of the result that it has a part in as soon
// as it is resized, so that an image much taller or wider than the result costs
// no intermediate of its size.
func resample[T uint8 | int32, K int32 | float64](src []T, bands int, x, y axis, wx, wy weights[K], round func(K) T) []T {
	in, out := x.n*bands, x.len()*bands
	line, sums := make([]T, out), make([]K, y.len()*out)
	from, to := wy.span()
	first := 0 // the result's first row not yet complete
	for row := from; row < to; row++ {
		horizontal(line, src[row*in:][:in], bands, wx, round)
		for wy.first[first]+len(wy.k[first]) <= row {
			first++
		}
		for r := first; r < y.len() && wy.first[r] <= row; r++ {
			accumulate(sums[r*out:][:out], line, wy.k[r][row-wy.first[r]])
		}
	}
	dst := make([]T, len(sums))
	for i, sum := range sums {
		dst[i] = round(sum)
	}
	return dst
}

func accumulate[T uint8 | int32, K int32 | float64](sums []K, line []T, weight K) {
	for i, v := range line[:len(sums)] {
		sums[i] += K(K(v) * weight)
	}
}

func horizontal[T uint8 | int32, K int32 | float64](dst, src []T, bands int, w weights[K], round func(K) T) {
	for i, k := range w.k {
		px := src[w.first[i]*bands:][:len(k)*bands]
		if bands == 3 {
			var r, g, b K
			for j, v := range k {
				p := px[3*j : 3*j+3 : 3*j+3]
				r += K(p[0]) * v
				g += K(p[1]) * v
				b += K(p[2]) * v
			}
			dst[3*i], dst[3*i+1], dst[3*i+2] = round(r), round(g), round(b)
			continue
		}
		for band := range bands {
			var sum K
			for j, v := range k {
				sum += K(K(px[j*bands+band]) * v)
			}
			dst[i*bands+band] = round(sum)
		}
	}
}
