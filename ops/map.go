package ops

import (
	"fmt"
	"math"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// Function is what Map applies to each element. The values are those that
// shaders/lib/function.wgsl lists.
type Function uint8

const (
	GELU       Function = iota // x · Φ(x), by the error function: torch's nn.GELU()
	GELUTanh                   // torch's nn.GELU(approximate="tanh")
	QuickGELU                  // x · sigmoid(1.702 x): OpenAI's CLIP
	ReLU                       // max(x, 0)
	SiLU                       // x · sigmoid(x)
	Sigmoid                    // 1 / (1 + exp(−x))
	LogSigmoid                 // log sigmoid(x)
	Exp                        // exp(x)
	Tanh                       // tanh(x)
)

// functions are the Functions and their derivatives in float64.
var functions = [...]struct {
	name  string
	at    func(x float64) float64
	slope func(x float64) float64
}{
	GELU: {"GELU",
		func(x float64) float64 { return x * math.Erfc(-x/math.Sqrt2) / 2 },
		func(x float64) float64 {
			return math.Erfc(-x/math.Sqrt2)/2 + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
		}},
	GELUTanh: {"GELUTanh",
		func(x float64) float64 { return x / 2 * (1 + math.Tanh(geluTanhArg(x))) },
		func(x float64) float64 {
			t := math.Tanh(geluTanhArg(x))
			return (1+t)/2 + x/2*(1-t*t)*math.Sqrt(2/math.Pi)*(1+3*0.044715*x*x)
		}},
	QuickGELU: {"QuickGELU",
		func(x float64) float64 { return x * sigmoid(1.702*x) },
		func(x float64) float64 { return sigmoid(1.702*x) + 1.702*x*sigmoid(1.702*x)*sigmoid(-1.702*x) }},
	ReLU: {"ReLU",
		func(x float64) float64 { return max(x, 0) },
		func(x float64) float64 {
			if x > 0 {
				return 1
			}
			return 0
		}},
	SiLU: {"SiLU",
		func(x float64) float64 { return x * sigmoid(x) },
		func(x float64) float64 { return sigmoid(x) + x*sigmoid(x)*sigmoid(-x) }},
	Sigmoid: {"Sigmoid", sigmoid, func(x float64) float64 { return sigmoid(x) * sigmoid(-x) }},
	LogSigmoid: {"LogSigmoid",
		func(x float64) float64 { return min(x, 0) - math.Log1p(math.Exp(-math.Abs(x))) },
		func(x float64) float64 { return sigmoid(-x) }},
	Exp:  {"Exp", math.Exp, math.Exp},
	Tanh: {"Tanh", math.Tanh, func(x float64) float64 { return 4 * sigmoid(2*x) * sigmoid(-2*x) }},
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func geluTanhArg(x float64) float64 { return math.Sqrt(2/math.Pi) * (x + 0.044715*x*x*x) }

func (f Function) String() string {
	if int(f) >= len(functions) {
		return fmt.Sprintf("Function(%d)", uint8(f))
	}
	return functions[f].name
}

// kernel is a file with f as its constant F.
func (f Function) kernel(file string) shaders.Variant {
	return shaders.Variant{File: file, Consts: map[string]any{"F": int(f)}}
}

var mapOp = &graph.Op{
	Name: "map",
	Infer: func(n *graph.Node) ([]graph.Spec, error) {
		if f := n.Attr.(Function); int(f) >= len(functions) {
			return nil, fmt.Errorf("%s: %v is not a function that Map knows", specs(n.In), f)
		}
		return sameF32(n)
	},
	Lower: func(n *graph.Node) []graph.Launch {
		return []graph.Launch{elementwise(n.Attr.(Function).kernel("unary"), n.Out[0].Shape.Elems(), []graph.Arg{graph.In(0), graph.Out(0)})}
	},
	VJP: func(g *graph.Graph, n *graph.Node, dy []graph.Tensor) []graph.Tensor {
		return g.Apply(mapGradOp, n.Attr, n.In[0], dy[0])
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		for i, x := range in[0] {
			out[0][i] = functions[n.Attr.(Function)].at(x)
		}
	},
}

// mapGradOp takes x and dy to dx.
var mapGradOp = &graph.Op{
	Name:  "map_grad",
	Infer: sameF32,
	Lower: func(n *graph.Node) []graph.Launch {
		return []graph.Launch{elementwise(n.Attr.(Function).kernel("unary_grad"), n.Out[0].Shape.Elems(), []graph.Arg{graph.In(0), graph.In(1), graph.Out(0)})}
	},
	Ref: func(n *graph.Node, in, out [][]float64) {
		for i, x := range in[0] {
			out[0][i] = in[1][i] * functions[n.Attr.(Function)].slope(x)
		}
	},
}

// Map records f(x), element by element.
func Map(g *graph.Graph, x graph.Tensor, f Function) graph.Tensor { return g.Apply(mapOp, f, x)[0] }
