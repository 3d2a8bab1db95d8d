package shaders

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type mathCase struct {
	name     string
	want     func(x float64) float64
	abs, rel float64 // tolerance: abs + rel |want|
}

// mathCases are the formulas in float64.
func mathCases() []mathCase {
	phi := func(x float64) float64 { return math.Exp(-x*x/2) / math.Sqrt(2*math.Pi) }
	cdf := func(x float64) float64 { return math.Erfc(-x/math.Sqrt2) / 2 }
	sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	swishGrad := func(x, b float64) float64 { return sigmoid(b*x) + b*x*sigmoid(b*x)*sigmoid(-b*x) }
	arg := func(x float64) float64 { return 2 * math.Sqrt(2/math.Pi) * (x + 0.044715*x*x*x) }
	slope := func(x float64) float64 { return 2 * math.Sqrt(2/math.Pi) * (1 + 3*0.044715*x*x) }
	const ulp = 1.0 / (1 << 23)
	return []mathCase{
		{"erf", math.Erf, 0, 2 * ulp},
		{"normal_cdf", cdf, 2 * ulp, 0},
		{"sigmoid", sigmoid, 1e-38, 2 * ulp},
		{"log_sigmoid", func(x float64) float64 { return math.Min(x, 0) - math.Log1p(math.Exp(-math.Abs(x))) }, 1e-38, 2 * ulp},
		{"tanh_safe", math.Tanh, 0, 2 * ulp},
		{"relu", func(x float64) float64 { return math.Max(x, 0) }, 0, 0},
		{"silu", func(x float64) float64 { return x * sigmoid(x) }, 1e-38, 2 * ulp},
		{"silu_grad", func(x float64) float64 { return swishGrad(x, 1) }, 2 * ulp, 0},
		{"quick_gelu", func(x float64) float64 { return x * sigmoid(1.702*x) }, 2 * ulp, 2 * ulp},
		{"quick_gelu_grad", func(x float64) float64 { return swishGrad(x, 1.702) }, 2 * ulp, 0},
		{"gelu_erf", func(x float64) float64 { return x * cdf(x) }, 2 * ulp, 2 * ulp},
		{"gelu_erf_grad", func(x float64) float64 { return cdf(x) + x*phi(x) }, 2 * ulp, 0},
		{"gelu_tanh", func(x float64) float64 { return x * sigmoid(arg(x)) }, 2 * ulp, 2 * ulp},
		{"gelu_tanh_grad", func(x float64) float64 {
			if math.Abs(x) > 20 {
				return math.Max(0, math.Copysign(1, x)) // the formula overflows
			}
			return sigmoid(arg(x)) + x*slope(x)*sigmoid(arg(x))*sigmoid(-arg(x))
		}, 2 * ulp, 0},
	}
}

// TestMath runs the text of lib/math.wgsl in float32, with fma rounded once and twice.
func TestMath(t *testing.T) {
	src, err := files.ReadFile("lib/math.wgsl")
	require.NoError(t, err)
	for _, fused := range []bool{false, true} {
		m := readFunctions(t, string(src))
		m.fused = fused
		for _, c := range mathCases() {
			t.Run(fmt.Sprintf("%s/fused=%v", c.name, fused), func(t *testing.T) {
				for _, x := range mathInputs() {
					got, want := float64(m.call(c.name, x)), c.want(float64(x))
					if err := math.Abs(got - want); !(err <= c.abs+c.rel*math.Abs(want)) {
						require.Failf(t, "far off", "%s(%g) = %g, want %g", c.name, x, got, want)
					}
				}
				if c.name != "normal_cdf" && c.name != "tanh_safe" {
					assert.True(t, math.IsNaN(float64(m.call(c.name, float32(math.NaN())))), "NaN is handed on")
				}
			})
		}
	}
}

// TestNormalTail checks the relative error that keeps gelu_erf right where 1 + erf cancels.
func TestNormalTail(t *testing.T) {
	src, err := files.ReadFile("lib/math.wgsl")
	require.NoError(t, err)
	m := readFunctions(t, string(src))
	for a := float32(0); a <= 4; a += 0.00073 {
		assert.InEpsilon(t, math.Erfc(float64(a)/math.Sqrt2)/2, m.call("normal_tail", a), 6e-7, "normal_tail(%g)", a)
	}
}

// mathInputs are steps over [-20, 20] and the ends of the range.
func mathInputs() []float32 {
	in := []float32{0, 50, -50, 1e4, -1e4, 1e30, -1e30, 1e-6, -1e-6, 1e-30, -1e-30, 0.5, -0.5, 0.49999997}
	for x := float32(-20); x <= 20; x += 0.00731 {
		in = append(in, x)
	}
	return in
}

// functions interprets WGSL functions of scalars that consist of let and return.
type functions struct {
	decls map[string]function
	fused bool // whether fma rounds once; WGSL allows both
}

type function struct {
	args  []string
	names []string // of the lets; the last, "", is the return
	exprs []ast.Expr
}

func readFunctions(t *testing.T, src string) *functions {
	src = regexp.MustCompile(`//.*`).ReplaceAllString(src, "")
	src = strings.ReplaceAll(src, "select(", "Select(") // a keyword of Go
	m := &functions{decls: map[string]function{}}
	for _, d := range regexp.MustCompile(`fn (\w+)\(([^)]*)\) -> f32 \{([^}]*)\}`).FindAllStringSubmatch(src, -1) {
		var f function
		for _, a := range strings.Split(d[2], ",") {
			name, _, _ := strings.Cut(a, ":")
			f.args = append(f.args, strings.TrimSpace(name))
		}
		for _, s := range regexp.MustCompile(`(?:let (\w+) =|return)([^;]+);`).FindAllStringSubmatch(d[3], -1) {
			e, err := parser.ParseExpr(strings.TrimSpace(s[2]))
			require.NoError(t, err, d[1])
			f.names, f.exprs = append(f.names, s[1]), append(f.exprs, e)
		}
		m.decls[d[1]] = f
	}
	return m
}

func (m *functions) call(name string, args ...float32) float32 {
	f := m.decls[name]
	vars := map[string]float32{}
	for i, a := range args {
		vars[f.args[i]] = a
	}
	for i, e := range f.exprs {
		vars[f.names[i]] = m.eval(e, vars)
	}
	return vars[""]
}

// eval computes an expression in float32; a comparison is 1 or 0.
func (m *functions) eval(e ast.Expr, vars map[string]float32) float32 {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return m.eval(e.X, vars)
	case *ast.BasicLit:
		x, _ := strconv.ParseFloat(e.Value, 32)
		return float32(x)
	case *ast.Ident:
		return vars[e.Name]
	case *ast.UnaryExpr:
		return -m.eval(e.X, vars)
	case *ast.BinaryExpr:
		return arithmetic(e.Op, m.eval(e.X, vars), m.eval(e.Y, vars))
	case *ast.CallExpr:
		var args []float32
		for _, a := range e.Args {
			args = append(args, m.eval(a, vars))
		}
		return m.builtin(e.Fun.(*ast.Ident).Name, args)
	}
	panic(fmt.Sprintf("%T in lib/math.wgsl", e))
}

func arithmetic(op token.Token, x, y float32) float32 {
	truth := map[bool]float32{true: 1}
	switch op {
	case token.ADD:
		return x + y
	case token.SUB:
		return x - y
	case token.MUL:
		return x * y
	case token.QUO:
		return x / y
	case token.LSS:
		return truth[x < y]
	case token.GEQ:
		return truth[x >= y]
	}
	panic(op.String() + " in lib/math.wgsl")
}

func (m *functions) builtin(name string, a []float32) float32 {
	// min and max drop a NaN, as most GPUs do.
	lesser := func(x, y float32) float32 {
		if x < y || y != y {
			return x
		}
		return y
	}
	switch name {
	case "fma":
		if m.fused {
			return float32(math.FMA(float64(a[0]), float64(a[1]), float64(a[2])))
		}
		product := a[0] * a[1]
		return product + a[2]
	case "exp":
		return float32(math.Exp(float64(a[0])))
	case "tanh":
		return float32(math.Tanh(float64(a[0])))
	case "abs":
		return float32(math.Abs(float64(a[0])))
	case "sign":
		if a[0] == 0 || a[0] != a[0] {
			return a[0]
		}
		return float32(math.Copysign(1, float64(a[0])))
	case "min":
		return lesser(a[0], a[1])
	case "clamp":
		return -lesser(-lesser(a[0], a[2]), -a[1])
	case "Select":
		if a[2] != 0 {
			return a[1]
		}
		return a[0]
	}
	return m.call(name, a...)
}
