package half

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// halfFormat describes a 16-bit float by its field widths, from which value
// and rounding follow by definition instead of by bit tricks.
type halfFormat struct {
	name         string
	mantissaBits int
	bias         int
	decode       func(uint16) float32
	encode       func(float32) uint16
}

var halfFormats = []halfFormat{
	{"f16", 10, 15, F16ToF32, F32ToF16},
	{"bf16", 7, 127, BF16ToF32, F32ToBF16},
}

// value is the definition: (-1)^s · 2^(e-bias) · 1.m, subnormals 2^(1-bias) · 0.m.
func (f halfFormat) value(h uint16) float64 {
	m := float64(h & (1<<f.mantissaBits - 1))
	maxExp := 1<<(15-f.mantissaBits) - 1
	exp := int(h&0x7fff) >> f.mantissaBits
	v := 0.0
	switch {
	case exp == maxExp && m == 0:
		v = math.Inf(1)
	case exp == maxExp:
		v = math.NaN()
	case exp == 0:
		v = math.Ldexp(m, 1-f.bias-f.mantissaBits)
	default:
		v = math.Ldexp(m+float64(int(1)<<f.mantissaBits), exp-f.bias-f.mantissaBits)
	}
	if h&0x8000 != 0 {
		v = -v
	}
	return v
}

func TestHalfAllValuesRoundTrip(t *testing.T) {
	for _, f := range halfFormats {
		for i := range 1 << 16 {
			h := uint16(i)
			got, want := f.decode(h), f.value(h)
			if math.IsNaN(want) {
				require.True(t, got != got, "%s %#04x", f.name, h)
			} else {
				require.Equal(t, math.Float64bits(want), math.Float64bits(float64(got)), "%s %#04x", f.name, h)
			}
			require.Equal(t, h, f.encode(got), "%s %#04x", f.name, h)
		}
	}
}

// Between every two neighbours: the midpoint goes to the even one, and the
// float32 values next to it go to their own side.
func TestHalfRoundsToNearestEven(t *testing.T) {
	for _, f := range halfFormats {
		inf := uint16(0x7fff) >> f.mantissaBits << f.mantissaBits
		for h := range inf {
			low, high := f.value(h), f.value(h+1)
			if h+1 == inf { // the value that would come next, were there an exponent for it
				high = low + (low - f.value(h-1))
			}
			mid := float32((low + high) / 2)
			even := h + h&1
			for _, sign := range []uint16{0, 0x8000} {
				s := float32(1)
				if sign != 0 {
					s = -1
				}
				require.Equal(t, sign|even, f.encode(s*mid), "%s after %#04x", f.name, h)
				require.Equal(t, sign|h, f.encode(s*math.Nextafter32(mid, 0)), "%s after %#04x", f.name, h)
				require.Equal(t, sign|(h+1), f.encode(s*math.Nextafter32(mid, math.MaxFloat32)), "%s after %#04x", f.name, h)
			}
		}
	}
}

func TestHalfExtremes(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		in        float32
		f16, bf16 uint16
	}{
		{inf, 0x7c00, 0x7f80},
		{-inf, 0xfc00, 0xff80},
		{math.MaxFloat32, 0x7c00, 0x7f80},
		{65519.996, 0x7bff, 0x4780},
		{65520, 0x7c00, 0x4780},
		{math.SmallestNonzeroFloat32, 0, 0},
		{float32(math.Copysign(0, -1)), 0x8000, 0x8000},
		{math.Float32frombits(0x7f800001), 0x7e00, 0x7fc0}, // a NaN whose payload does not fit stays one
		{math.Float32frombits(0xffffffff), 0xffff, 0xffff},
	} {
		assert.Equal(t, c.f16, F32ToF16(c.in), "f16 of %v", c.in)
		assert.Equal(t, c.bf16, F32ToBF16(c.in), "bf16 of %v", c.in)
	}
}

func TestOverflowIsTheLeastThatRoundsToInfinity(t *testing.T) {
	for i, least := range []float32{OverflowF16, OverflowBF16} {
		f := halfFormats[i]
		below := math.Nextafter32(least, 0)
		assert.True(t, math.IsInf(float64(f.decode(f.encode(least))), 1), f.name)
		assert.False(t, math.IsInf(float64(f.decode(f.encode(below))), 0), f.name)
		assert.True(t, math.IsInf(float64(f.decode(f.encode(-least))), -1), f.name)
	}
}
