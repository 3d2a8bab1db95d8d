package finite

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestFirstNot(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for n := range 35 {
		values := make([]float32, n+1)[1:] // not aligned to what is read at once
		for i := range values {
			values[i] = []float32{0, -1, math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32}[i%5]
		}
		assert.Equal(t, -1, FirstNot(values))
		for at := range values {
			for _, odd := range []float32{nan, -nan, inf, -inf, math.Float32frombits(0x7f800001)} {
				was := values[at]
				values[at] = odd
				assert.Equal(t, at, FirstNot(values), "%v of %d", odd, n)
				values[at] = was
			}
		}
	}
	assert.Equal(t, 1, FirstNot([]float32{0, nan, inf}))
}
