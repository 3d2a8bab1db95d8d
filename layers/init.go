package layers

import (
	"fmt"
	"hash/fnv"
	"math"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// Init is how open_clip initialises a parameter before training. It is a
// Source whose element i depends only on the seed, the parameter's name and i,
// so that random weights stream like a checkpoint's.
type Init struct {
	dist       distribution
	scale, cut float64
	key        uint64
	from, ends uint64  // elements of another scale, of which the second is the first behind them
	other      float64 // their scale
}

type distribution uint8

const (
	constant  distribution = iota
	uniform                // on [-scale, scale]
	normal                 // with standard deviation scale
	truncated              // normal before it is cut off at cut standard deviations
)

// Constant initialises every element to v.
func Constant(v float64) Init { return Init{dist: constant, scale: v} }

// Uniform initialises uniformly on [-bound, bound].
func Uniform(bound float64) Init { return Init{dist: uniform, scale: bound} }

// Normal initialises from N(0, std²).
func Normal(std float64) Init { return Init{dist: normal, scale: std} }

// TruncatedNormal initialises from N(0, std²) with what lies beyond two standard
// deviations drawn again (timm's trunc_normal_tf_).
func TruncatedNormal(std float64) Init { return cutNormal(std, 2) }

// cutNormal is TruncatedNormal at another number of standard deviations.
func cutNormal(std, cut float64) Init { return Init{dist: truncated, scale: std, cut: cut} }

// withZeros is i, but that elements lo to hi are zero.
func (i Init) withZeros(lo, hi int) Init { return i.withScale(lo, hi, 0) }

// withScale is i, but that elements lo to hi have another standard deviation, bound or
// constant.
func (i Init) withScale(lo, hi int, scale float64) Init {
	i.from, i.ends, i.other = uint64(lo), uint64(hi), scale
	return i
}

// kaimingUniform is torch's default for Linear and Conv2d, weight and bias:
// kaiming_uniform_ with a = √5, which is U(±1/√fanIn).
func kaimingUniform(fanIn int) Init { return Uniform(1 / math.Sqrt(float64(fanIn))) }

// xavierUniform is torch's xavier_uniform_ of an [out, in] matrix.
func xavierUniform(out, in int) Init { return Uniform(math.Sqrt(6 / float64(in+out))) }

// Seed binds p's initialisation, where it has one, to a seed and p's name.
func Seed(p *graph.Param, seed uint64) {
	if i, ok := p.Source.(Init); ok {
		h := fnv.New64a()
		fmt.Fprintf(h, "%d %s", seed, p.Name)
		i.key = h.Sum64()
		p.Source = i
	}
}

// ReadF32 implements graph.Source.
func (i Init) ReadF32(dst []float32, offset int) error {
	for j := range dst {
		dst[j] = float32(i.at(uint64(offset + j)))
	}
	return nil
}

func (i Init) at(n uint64) float64 {
	if n >= i.from && n < i.ends {
		i.scale = i.other
	}
	switch i.dist {
	case uniform:
		return i.scale * (2*unit(i.key, n) - 1)
	case truncated: // by the inverse of the distribution; erf(cut/√2) lies within
		return i.scale * math.Sqrt2 * math.Erfinv(math.Erf(i.cut/math.Sqrt2)*(2*unit(i.key, n)-1))
	case normal: // Box & Muller, 1958
		r := math.Sqrt(-2 * math.Log(1-unit(i.key, 2*n)))
		return i.scale * r * math.Cos(2*math.Pi*unit(i.key, 2*n+1))
	}
	return i.scale
}

// unit is draw n of the stream key, in [0, 1): the finaliser of SplitMix64
// (Steele, Lea & Flood, 2014) on its n-th state.
func unit(key, n uint64) float64 {
	z := key + (n+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return float64((z^z>>31)>>11) / (1 << 53)
}

// Values is a Source held in memory.
type Values []float32

// ReadF32 implements graph.Source.
func (v Values) ReadF32(dst []float32, offset int) error {
	if offset+len(dst) > len(v) {
		return fmt.Errorf("elements %d to %d of %d", offset, offset+len(dst), len(v))
	}
	copy(dst, v[offset:])
	return nil
}

// NewParam returns an unnamed parameter.
func NewParam(src graph.Source, shape ...int) *graph.Param {
	return &graph.Param{State: graph.State{Spec: graph.Spec{Shape: shape, Element: graph.F32}}, Source: src}
}
