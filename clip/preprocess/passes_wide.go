package preprocess

// resampleWide is resample of mode I, in floating point as in Pillow. Each row is
// added to all the rows of the result that it has a part in as soon as it is resized.
func (m *Image) resampleWide(wx, wy weights[float64]) []int32 {
	out := len(wx.k)
	line, sums := make([]int32, out), make([]float64, len(wy.k)*out)
	from, to := wy.span()
	first := 0 // the result's first row not yet complete
	for row := from; row < to; row++ {
		horizontalWide(line, m.wide[row*m.width:][:m.width], wx)
		for wy.first[first]+len(wy.k[first]) <= row {
			first++
		}
		for r := first; r < len(wy.k) && wy.first[r] <= row; r++ {
			weight := wy.k[r][row-wy.first[r]]
			for i, v := range line {
				sums[r*out+i] += float64(float64(v) * weight)
			}
		}
	}
	dst := make([]int32, len(sums))
	for i, sum := range sums {
		dst[i] = round32(sum)
	}
	return dst
}

func horizontalWide(dst, src []int32, w weights[float64]) {
	for i, k := range w.k {
		var sum float64
		px := src[w.first[i]:][:len(k)]
		for j, v := range k {
			sum += float64(float64(px[j]) * v)
		}
		dst[i] = round32(sum)
	}
}

// round32 rounds half away from zero, as Pillow's ROUND_UP.
func round32(sum float64) int32 {
	if sum >= 0 {
		return int32(sum + 0.5)
	}
	return int32(sum - 0.5)
}
