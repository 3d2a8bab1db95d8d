//go:build !purego

package preprocess

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
)

// The kernels give what the Go code gives, to the bit.
func TestKernelsEqualGo(t *testing.T) {
	if !hasAVX2 {
		t.Skip("this processor has no AVX2")
	}
	defer func() { hasAVX2 = true }()
	rng := rand.New(rand.NewPCG(1, 2))
	side := func() int { return 1 + rng.IntN([]int{4, 40, 300}[rng.IntN(3)]) }
	part := func() axis {
		a := axis{at: rng.IntN(9), n: side(), out: side()}
		a.lo = rng.IntN(a.out)
		a.hi = a.lo + 1 + rng.IntN(a.out-a.lo)
		return a
	}
	modes := []string{modeL, modeLA, modeRGB, modeRGBA, modeCMYK}
	for i := range 1000 {
		x, y, f := part(), part(), []filter{bilinear, bicubic}[i%2]
		m := randomImage(int64(i), modes[i%len(modes)], x.at+x.n+i%3, y.at+y.n+i%2)
		hasAVX2 = true
		got := m.resize(x, y, f)
		hasAVX2 = false
		if want := m.resize(x, y, f); !assert.Equal(t, want.pix, got.pix, "%s of %+v x %+v", m.mode, x, y) {
			return
		}
	}
}
