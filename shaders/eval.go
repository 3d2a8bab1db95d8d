package shaders

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// value is a scalar constant. Its type is u32, i32, f32, bool, or one of WGSL's abstract types, here called int and float.
type value struct {
	typ string
	v   constant.Value
}

// lookup finds a module constant by name.
type lookup func(name string) (value, error)

var (
	number = regexp.MustCompile(`\b(0[xX][0-9a-fA-F]+|\d+\.?\d*(?:[eE][+-]?\d+)?)([iuf]?)\b|(\.\d+(?:[eE][+-]?\d+)?)(f?)\b`)
	suffix = map[string]string{"i": "i32", "u": "u32", "f": "f32"}
)

// eval computes a WGSL const expression over scalars. Valid WGSL parenthesises every mix of operators
// that Go would bind differently, so that Go's parser reads it right once suffixes and keywords are rewritten.
func eval(expr string, names lookup) (value, error) {
	goExpr := number.ReplaceAllStringFunc(expr, func(n string) string {
		m := number.FindStringSubmatch(n)
		if s := suffix[m[2]+m[4]]; s != "" {
			return s + "(" + m[1] + m[3] + ")"
		}
		return n
	})
	goExpr = strings.NewReplacer("select(", "Select(", "~", "^").Replace(goExpr)
	tree, err := parser.ParseExpr(goExpr)
	if err != nil {
		return value{}, fmt.Errorf("cannot read const expression %q", expr)
	}
	x, err := names.eval(tree)
	if err != nil {
		return value{}, fmt.Errorf("%s: %w", strings.TrimSpace(expr), err)
	}
	return x, nil
}

func (names lookup) eval(e ast.Expr) (value, error) {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return names.eval(e.X)
	case *ast.BasicLit:
		typ := "int"
		if e.Kind == token.FLOAT {
			typ = "float"
		}
		return fit(typ, constant.MakeFromLiteral(e.Value, e.Kind, 0))
	case *ast.Ident:
		if e.Name == "true" || e.Name == "false" {
			return value{"bool", constant.MakeBool(e.Name == "true")}, nil
		}
		return names(e.Name)
	case *ast.UnaryExpr:
		return names.unary(e)
	case *ast.BinaryExpr:
		return names.binary(e)
	case *ast.CallExpr:
		return names.call(e)
	}
	return value{}, fmt.Errorf("only scalar operators, conversions, min, max and select are evaluated")
}

func (names lookup) unary(e *ast.UnaryExpr) (value, error) {
	x, err := names.eval(e.X)
	if err != nil {
		return value{}, err
	}
	switch {
	case e.Op == token.NOT && x.typ == "bool", e.Op == token.SUB && x.typ != "bool" && x.typ != "u32":
		return fit(x.typ, constant.UnaryOp(e.Op, x.v, 0))
	case e.Op == token.XOR && x.typ == "u32":
		return fit(x.typ, constant.UnaryOp(e.Op, x.v, 32))
	case e.Op == token.XOR && x.isInt():
		return fit(x.typ, constant.UnaryOp(e.Op, x.v, 0))
	}
	return value{}, fmt.Errorf("operator %s does not take %s", e.Op, x.typ)
}

func (names lookup) binary(e *ast.BinaryExpr) (value, error) {
	x, err := names.eval(e.X)
	if err != nil {
		return value{}, err
	}
	y, err := names.eval(e.Y)
	if err != nil {
		return value{}, err
	}
	if e.Op == token.SHL || e.Op == token.SHR {
		n, ok := constant.Uint64Val(constant.ToInt(y.v))
		if !x.isInt() || !y.isInt() || y.typ == "i32" || !ok || n > 31 {
			return value{}, fmt.Errorf("operator %s wants an integer and a u32 below 32", e.Op)
		}
		return fit(x.typ, constant.Shift(x.v, e.Op, uint(n)))
	}
	if x, y, err = unify(x, y); err != nil {
		return value{}, fmt.Errorf("operator %s: %w", e.Op, err)
	}
	return operate(e.Op, x, y)
}

// operate applies an operator other than a shift to two values of one type.
func operate(op token.Token, x, y value) (value, error) {
	isBool := x.typ == "bool"
	switch op {
	case token.EQL, token.NEQ:
		return value{"bool", constant.MakeBool(constant.Compare(x.v, op, y.v))}, nil
	case token.LSS, token.LEQ, token.GTR, token.GEQ:
		if !isBool {
			return value{"bool", constant.MakeBool(constant.Compare(x.v, op, y.v))}, nil
		}
	case token.LAND, token.LOR:
		if isBool {
			return value{"bool", constant.BinaryOp(x.v, op, y.v)}, nil
		}
	case token.ADD, token.SUB, token.MUL:
		if !isBool {
			return fit(x.typ, constant.BinaryOp(x.v, op, y.v))
		}
	case token.QUO, token.REM:
		if isBool || op == token.REM && !x.isInt() {
			break
		}
		if constant.Sign(y.v) == 0 {
			return value{}, fmt.Errorf("division by zero")
		}
		if op == token.QUO && x.isInt() {
			op = token.QUO_ASSIGN // go/constant's name for integer division
		}
		return fit(x.typ, constant.BinaryOp(x.v, op, y.v))
	case token.AND, token.OR, token.XOR:
		if x.isInt() {
			return fit(x.typ, constant.BinaryOp(x.v, op, y.v))
		}
	}
	return value{}, fmt.Errorf("operator %s does not take %s", op, x.typ)
}

// call evaluates a conversion, min, max or select. The last is spelled Select, because select is a keyword of Go,
// whose parser reads the expression.
func (names lookup) call(e *ast.CallExpr) (value, error) {
	fn, ok := e.Fun.(*ast.Ident)
	if !ok {
		return value{}, fmt.Errorf("cannot call this")
	}
	var args []value
	for _, a := range e.Args {
		x, err := names.eval(a)
		if err != nil {
			return value{}, err
		}
		args = append(args, x)
	}
	switch {
	case len(args) == 1 && (fn.Name == "u32" || fn.Name == "i32" || fn.Name == "f32"):
		return cast(fn.Name, args[0])
	case len(args) == 2 && (fn.Name == "min" || fn.Name == "max") && args[0].typ != "bool":
		x, y, err := unify(args[0], args[1])
		if err != nil {
			return value{}, err
		}
		if constant.Compare(x.v, token.LSS, y.v) == (fn.Name == "min") {
			return x, nil
		}
		return y, nil
	case len(args) == 3 && fn.Name == "Select" && args[2].typ == "bool":
		no, yes, err := unify(args[0], args[1])
		if err != nil {
			return value{}, err
		}
		if constant.BoolVal(args[2].v) {
			return yes, nil
		}
		return no, nil
	}
	return value{}, fmt.Errorf("%s of %d arguments of these types is not evaluated", strings.ToLower(fn.Name), len(args))
}

func (x value) isInt() bool { return x.typ == "u32" || x.typ == "i32" || x.typ == "int" }

// unify brings two values to one type where WGSL's implicit conversions allow it.
func unify(x, y value) (value, value, error) {
	if cx, err := convert(y.typ, x); err == nil {
		return cx, y, nil
	}
	cy, err := convert(x.typ, y)
	return x, cy, err
}

// convert is WGSL's implicit conversion: from abstract types only.
func convert(typ string, x value) (value, error) {
	switch {
	case x.typ == typ:
		return x, nil
	case x.typ == "int" && typ != "bool", x.typ == "float" && typ == "f32":
		return fit(typ, x.v)
	}
	return value{}, fmt.Errorf("%s where %s is wanted", x.typ, typ)
}

// cast is an explicit conversion such as u32(x), which truncates floats.
func cast(typ string, x value) (value, error) {
	if x.typ == "bool" {
		if constant.BoolVal(x.v) {
			return fit(typ, constant.MakeInt64(1))
		}
		return fit(typ, constant.MakeInt64(0))
	}
	if f, _ := constant.Float64Val(x.v); typ != "f32" && !x.isInt() {
		return fit(typ, constant.ToInt(constant.MakeFloat64(math.Trunc(f))))
	}
	return fit(typ, x.v)
}

// fit rounds v to the type, or says that it is out of range.
func fit(typ string, v constant.Value) (value, error) {
	lo, hi := int64(math.MinInt64), int64(math.MaxInt64)
	switch typ {
	case "bool":
		return value{typ, v}, nil
	case "f32":
		f, _ := constant.Float32Val(v)
		if math.IsInf(float64(f), 0) {
			return value{}, fmt.Errorf("%s is out of range for f32", v)
		}
		return value{typ, constant.ToFloat(constant.MakeFloat64(float64(f)))}, nil
	case "float":
		return value{typ, constant.ToFloat(v)}, nil
	case "u32":
		lo, hi = 0, math.MaxUint32
	case "i32":
		lo, hi = math.MinInt32, math.MaxInt32
	}
	if n, exact := constant.Int64Val(v); !exact || n < lo || n > hi {
		return value{}, fmt.Errorf("%s is out of range for %s", v, typ)
	}
	return value{typ, v}, nil
}

// literal is the value as WGSL text, with the concrete type that naga 0.13 needs spelled out.
func (x value) literal() (typ, text string) {
	switch x.typ {
	case "int", "i32":
		return "i32", x.v.ExactString()
	case "u32":
		return "u32", x.v.ExactString() + "u"
	case "float", "f32":
		f, _ := constant.Float32Val(x.v)
		text = strconv.FormatFloat(float64(f), 'g', -1, 32)
		if !strings.ContainsAny(text, ".e") {
			text += ".0"
		}
		return "f32", text
	}
	return x.typ, x.v.String()
}
